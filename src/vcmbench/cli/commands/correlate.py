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
from vcmbench.analysis.draws import check_resamples
from vcmbench.cli import table
from vcmbench.cli.argtypes import whole_number
from vcmbench.errors import RequestError
from vcmbench.io.files import hidden_beside, sha256_of, write_atomically
from vcmbench.io.progress import Progress
from vcmbench.measure.blocks.published_scores import AGAINST, PublishedBlocks, PublishedScores, read_blocks, read_scores

_MOST_BYTES = 1 << 30  # they have been read by then
_EXAMPLES = """\
examples:
  vcmbench correlate 64x64_val_metrics.json --blocks 64x64_val_blocks.json --per-codec -o correlation.json
  vcmbench correlate 64x64_val_metrics.json --bootstrap 0 --published -o 64x64_val_correlation.json

METRICS.json: {"0": {"acc": 0.54, "PSNR": 28.2, ...}, "1": ...}, a block or a picture each.
BLOCKS.json: {"0": [image, [codec, quality, "420", factor], [x, y], [width, height], accuracy], ...}.

Intervals are 95 %, by a bootstrap over source images, which needs --blocks; without it single blocks are drawn, and the
intervals are too narrow where blocks share an image. Metrics are ranked by |SROCC|; values keep their signs, negative
for metrics that are losses. docs/correlate.md says what each figure is.

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
    parser.add_argument(
        "--bootstrap", type=whole_number, default=1000, metavar="N",
        help="resamples; 0 for no intervals and no tests (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="of the resamples (default: %(default)s)"
    )
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
    if whole.best is None:
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
    if arguments.seed < 0:
        raise RequestError(f"--seed {arguments.seed}: must be 0 or more")
    check_resamples(arguments.bootstrap)
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
    with Progress(len(scores.metrics) * (1 + len(codecs)), "metric", quiet=arguments.json) as progress:

        def compare(chosen: NDArray[np.bool_], index: int, scope: str) -> Comparison:
            return correlation.compare(
                {name: values[chosen] for name, values in scores.metrics.items()},
                scores.machine[chosen],
                np.array(blocks.images)[chosen].tolist() if blocks else None,
                arguments.bootstrap,
                (arguments.seed, index),
                lambda name: progress.advance(f"{name}, {scope}"),
            )

        whole = compare(np.ones(len(scores.ids), bool), 0, "all blocks")
        of = np.array(blocks.codecs) if blocks else np.array([])
        return whole, {codec: compare(of == codec, index, codec) for index, codec in enumerate(codecs, 1)}


def _about(scores: PublishedScores, arguments: argparse.Namespace, notes: list[str]) -> dict[str, Any]:
    inputs = {"metrics": scores.path, "blocks": arguments.blocks}
    return {
        "schema_version": 1,
        "version": __version__,
        "inputs": {
            key: path and {"name": path.name, "sha256": sha256_of(path, _MOST_BYTES)} for key, path in inputs.items()
        },
        "against": arguments.against,
        "resamples": arguments.bootstrap,
        "seed": arguments.seed,
        "clustered_by": "image" if arguments.blocks else "block",
        "notes": notes,
    }


def _notes(scores: PublishedScores, blocks: PublishedBlocks | None, arguments: argparse.Namespace) -> list[str]:
    notes = []
    if not arguments.bootstrap:
        notes.append("no intervals and no tests: --bootstrap 0")
    elif blocks:
        notes.append(f"intervals: 95 %, {arguments.bootstrap} resamples of source images; tests: Holm, 5 %")
    else:
        notes.append(
            f"intervals: 95 %, {arguments.bootstrap} resamples of single blocks; they are too narrow where "
            "blocks share an image: name BLOCKS.json with --blocks"
        )
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
    header = ("metric", "|SROCC|", "SROCC", "PLCC", "KROCC", "PLCC fitted", "RMSE fitted", "against the best")
    rows = []
    for name, found in sorted(comparison.metrics.items(), key=lambda item: -item[1].strength):
        strength = f"{found.strength:.4f}" if found.strength >= 0 else "-"
        cells = [f"{found.values[key]:.4f}" for key in ("SROC", "PLCC", "KROCC", "PLCC_fit", "RMSE_fit")]
        rows.append((name, strength, *cells, comparison.verdict(name)))
    return table.render(header, rows)
