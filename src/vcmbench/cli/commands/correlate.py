"""Correlate quality metrics with what a machine sees."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench import __version__
from vcmbench.analysis import correlation
from vcmbench.analysis.correlation import STATISTICS, Comparison
from vcmbench.analysis.correlation_file import ABOUT, document, published
from vcmbench.cli import table
from vcmbench.cli.argtypes import GROUPS_HELP, add_intervals, pattern
from vcmbench.data.jackknife import Grouping
from vcmbench.errors import RequestError
from vcmbench.io.files import hidden_beside, sha256_of, write_atomically
from vcmbench.io.progress import Progress
from vcmbench.iqa import METRICS, PROFILES
from vcmbench.measure.blocks.published_scores import AGAINST, PublishedBlocks, PublishedScores, read_blocks, read_scores

_MOST_BYTES = 1 << 30  # they have been read by then
_EXAMPLES = """\
examples:
  vcmbench correlate 64x64_val_metrics.json \\
      --blocks 64x64_val_blocks.json --per-codec -o correlation.json
  vcmbench correlate 64x64_val_metrics.json --no-intervals --published \\
      -o 64x64_val_correlation.json

METRICS.json: {"0": {"acc": 0.54, "PSNR": 28.2, ...}, "1": ...}, a block or a picture each.
BLOCKS.json: {"0": [image, [codec, quality, "420", factor], [x, y], [width, height], accuracy], ...}.

Intervals are 95 %, by a jackknife over source images, which needs --blocks; without it blocks count by themselves, and
the intervals are too narrow where blocks share an image. Values keep their signs, negative for metrics that are losses.
Metrics are ranked by SROCC in the direction that they are known to mean; where that is not known, without its sign.
docs/correlate.md says what each figure is.

exit codes: 0 done (a metric that nothing can be computed of is said to be missing), 2 the request was wrong
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Correlate the scores of quality metrics with a machine's score: PLCC, SROCC, KROCC, PLCC and RMSE "
        "after a logistic fit, with intervals, and tests between the metrics."
    )
    parser.epilog = _EXAMPLES
    parser.add_argument("scores", type=Path, metavar="METRICS.json", help="scores by block")
    parser.add_argument("-o", "--output", type=Path, metavar="CORRELATION.json", help="where the figures go")
    parser.add_argument(
        "--blocks", type=Path, metavar="BLOCKS.json", help="the source image and the codec of each block"
    )
    parser.add_argument("--against", default=AGAINST, metavar="NAME", help="the machine's score (default: %(default)s)")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="these metrics only, in this order")
    parser.add_argument("--groups", metavar="PATTERN", type=pattern, help=GROUPS_HELP)
    add_intervals(parser)
    parser.add_argument("--per-codec", action="store_true", help="the same for each codec, too; needs --blocks")
    parser.add_argument(
        "--published", action="store_true",
        help="write CORRELATION.json in the published form: r and p only, a bare NaN where a score is missing",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the figures as one line of JSON, no table")
    table.add_option(parser)


def run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    scores = read_scores(arguments.scores, arguments.against, arguments.metrics)
    if ABOUT in scores.metrics:
        raise RequestError(f"{scores.path}: {ABOUT!r} cannot be a metric's name, the output needs it; rename it")
    blocks = read_blocks(arguments.blocks, scores.ids) if arguments.blocks else None
    whole, codecs = _compare_all(scores, blocks, arguments)
    if all(found.oriented.value is None for found in whole.metrics.values()):
        name, found = next(iter(whole.metrics.items()))
        raise RequestError(
            f"{scores.path}: no metric can be correlated; {name!r}: {found.values['SROC'].reason}; "
            "give finite scores that differ"
        )
    notes = _notes(scores, blocks, arguments)
    result = document(whole, codecs, _about(scores, arguments, notes))
    if arguments.output:
        ours = json.dumps(result, indent=1, allow_nan=False) + "\n"
        text = json.dumps(published(whole)) if arguments.published else ours
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(arguments.output, text.encode(), hidden_beside(arguments.output))
    if arguments.json:
        print(json.dumps(result, allow_nan=False))
        return 0
    for scope, comparison in {"all blocks": whole, **codecs}.items():
        print(_titled(scope, comparison, bool(blocks)))
    print("\n".join(notes))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.per_codec and not arguments.blocks:
        raise RequestError("--per-codec: the codecs of the blocks are in BLOCKS.json; give it with --blocks")
    if arguments.published and not arguments.output:
        raise RequestError("--published: is the form of a file; name the file with -o")
    if arguments.output:
        if arguments.output.is_dir():
            raise RequestError(f"{arguments.output}: is a folder; name a file with -o")
        for given in (arguments.scores, arguments.blocks):
            if given and arguments.output.resolve() == given.resolve():
                raise RequestError(f"-o {arguments.output}: would overwrite what is read")


def _compare_all(
    scores: PublishedScores, blocks: PublishedBlocks | None, arguments: argparse.Namespace
) -> tuple[Comparison, dict[str, Comparison]]:
    """All blocks, and those of each codec where that is asked for."""
    codecs = blocks.codec_names() if blocks and arguments.per_codec else []
    grouping = Grouping(arguments.groups)
    images = np.array(grouping.units(blocks.images)) if blocks else None
    rises = {name: way for name in scores.metrics if (way := _rises(name)) is not None}
    with Progress(len(scores.metrics) * (1 + len(codecs)), "metric", quiet=arguments.json) as progress:

        def compare(chosen: NDArray[np.bool_], scope: str) -> Comparison:
            return correlation.compare(
                {name: values[chosen] for name, values in scores.metrics.items()},
                scores.machine[chosen],
                None if images is None else images[chosen].tolist(),
                arguments.intervals,
                rises,
                lambda name: progress.advance(f"{name}, {scope}"),
                grouping.called(blocks.images) if blocks else "image",
                blocks.places[chosen] if blocks else None,
            )

        whole = compare(np.ones(len(scores.ids), bool), "all blocks")
        of = np.array(blocks.codecs) if blocks else np.array([])
        return whole, {codec: compare(of == codec, codec) for codec in codecs}


def _rises(metric: str) -> bool | None:
    """Whether a metric of that name rises with quality; None where that is not known, or goes by the profile."""
    known = METRICS.get(metric)
    ways = {known.higher_is_better(profile) for profile in PROFILES} if known else set()
    return ways.pop() if len(ways) == 1 else None


def _about(scores: PublishedScores, arguments: argparse.Namespace, notes: list[str]) -> dict[str, Any]:
    inputs = {"metrics": scores.path, "blocks": arguments.blocks}
    return {
        "schema_version": 1,
        "version": __version__,
        "inputs": {
            key: path and {"name": path.name, "sha256": sha256_of(path, _MOST_BYTES)} for key, path in inputs.items()
        },
        "against": arguments.against,
        "intervals": arguments.intervals,
        "groups": arguments.groups,
        "clustered_by": "image" if arguments.blocks else "block",
        "notes": notes,
    }


def _notes(scores: PublishedScores, blocks: PublishedBlocks | None, arguments: argparse.Namespace) -> list[str]:
    notes = []
    if not arguments.intervals:
        notes.append("no intervals and no tests: none were asked for")
    elif blocks:
        notes.append("intervals: 95 %, by source image; tests: Holm, 5 %")
    else:
        notes.append("intervals: 95 %, by single blocks; they are too narrow where blocks share an image: name "
                     "BLOCKS.json with --blocks")  # fmt: skip
    if blocks and arguments.against == AGAINST:
        apart = int((~np.isclose(blocks.accuracy, scores.machine, rtol=0, atol=1e-6)).sum())
        if apart:
            notes.append(
                f"{apart} of {len(scores.ids)} blocks have another accuracy in {arguments.blocks}: is it of the same "
                "draw?"
            )
    return notes


def _titled(scope: str, comparison: Comparison, is_clustered: bool) -> str:
    of = f" of {comparison.clusters} images" if is_clustered else ""
    lines = [f"{scope}: {comparison.n} blocks{of}", _table(comparison)]
    reasons: dict[str, list[str]] = {}
    for name, found in comparison.metrics.items():
        for key in STATISTICS:
            if reason := found.values[key].reason:
                where = name if found.values["SROC"].value is None else f"{name} {key}"
                reasons.setdefault(reason, [])
                if where not in reasons[reason]:
                    reasons[reason].append(where)
    lines += [f"{', '.join(where)}: {reason}" for reason, where in reasons.items() if "asked for" not in reason]
    return "\n".join(lines) + "\n"


def _table(comparison: Comparison) -> str:
    header = ("metric", "oriented", "SROCC", "PLCC", "KROCC", "PLCC fitted", "RMSE fitted", "against the best")
    rows = []
    for name, found in [*comparison.ranked, *comparison.baselines.items()]:
        strength = "-" if found.oriented.value is None else f"{found.strength:.4f}"
        cells = [f"{found.values[key]:.4f}" for key in ("SROC", "PLCC", "KROCC", "PLCC_fit", "RMSE_fit")]
        verdict = "baseline" if name in comparison.baselines else comparison.verdict(name)
        rows.append((name, strength, *cells, verdict))
    return table.render(header, rows)
