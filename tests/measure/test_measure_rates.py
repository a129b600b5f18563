"""What is compared is alike: rates that are equal, importance by the experiment's map, labels that are still there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.measuring import (
    CONFIGURATIONS,
    METRICS,
    PICTURES,
    TASK,
    Results,
    compressed,
    copy,
    counts,
    draw,
    measure,
    typed,
    write_toml,
)
from vcmbench import experiment
from vcmbench.analysis.curves import ImageJackknife
from vcmbench.analysis.run import measured, recalled
from vcmbench.analysis.summary import Summary
from vcmbench.data.dataset import DataRoot, Source, find_sources, open_root
from vcmbench.data.jackknife import Grouping
from vcmbench.data.record import as_json
from vcmbench.data.selection import Selection
from vcmbench.errors import JobError
from vcmbench.execution.runner.local import LocalRunner
from vcmbench.importance import ImportanceSettings, classes, importance_path, read_importance
from vcmbench.importance.inputs import files_of
from vcmbench.importance.source import ImportanceSource
from vcmbench.measure import ground_truth
from vcmbench.measure import records as score_records
from vcmbench.measure.outcome import MeasureSettings
from vcmbench.measure.run import MeasureRun
from vcmbench.report.build import report_content
from vcmbench.report.comparable import comparable
from vcmbench.report.fill import comparisons, curve_list, missed_rates, shown_measures, unequal
from vcmbench.report.frames import Gallery
from vcmbench.report.headroom import headroom, judged
from vcmbench.report.sequences import against_intra
from vcmbench.tasks import confusion
from vcmbench.tasks.confusion import dense
from vcmbench.tasks.kind import Truth, count, get

ALL = CONFIGURATIONS * PICTURES
IMAGE_ONLY = TASK + METRICS.replace("100", "0") + 'levels = ["image"]\n'


def run_of(results: Results, config: Path) -> MeasureRun:
    return MeasureRun(experiment.load(str(config)), results.root, LocalRunner(), MeasureSettings(jobs=2, quiet=True))


@pytest.fixture
def results(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return copy(tmp_path_factory, tmp_path)


@pytest.fixture
def config(tmp_path: Path, results: Results) -> Path:
    return tmp_path / "trial.toml"


# --- equal rate

_MAP = {"mode": "block", "delta": 6.0}


def scored(image: int, *, mapped: bool, right: int, size: int = 1000, equal: bool | None = None) -> dict[str, Any]:
    """A record of 100 pixels, of which so many are right."""
    confusion = [[0, 0, right], [0, 1, 100 - right]]
    part = {"confusion": confusion, "bands": None, "importance": [right / 2, 50.0]}
    return {
        "configuration": f"mapped={mapped}", "source": f"{image:02}", "encoder": "x265", "label": "x265", "quality": 30,
        "color_subsampling": "420", "subsampling_factor": 1.0, "qp_map": _MAP if mapped else None,
        "options": "qp_map=block match=rate" if mapped else "", "match_rate": mapped, "target_bpp": None,
        "map_method": "native" if mapped else None, "width_px": 10, "height_px": 10, "size_bytes": size,
        "rate_bpp": size * 8 / 100, "size_error": None, "is_equal": equal, "psnr_y_db": 30.0, "bitstream": "b",
        "iqa": {},
        "machine": {"key": "", "kind": "segmentation", "classes": 19, "pseudo": part, "labels": None, "truth": ""},
    }  # fmt: skip


def records(*mapped: tuple[int, int, bool | None]) -> list[dict[str, Any]]:
    """A mapped point whose pictures have (size, right, is_equal), beside a uniform one of 1000 bytes and 50 right."""
    plain = [scored(i, mapped=False, right=50) for i in range(len(mapped))]
    return plain + [scored(i, mapped=True, right=right, size=size, equal=equal)
                    for i, (size, right, equal) in enumerate(mapped)]  # fmt: skip


def compared(*mapped: tuple[int, int, bool | None]) -> Summary:
    return Summary(records(*mapped), {}, False)


def test_equal_rate_is_of_pictures_whose_rates_are_equal() -> None:
    """The third picture gained only because its file is larger."""
    summary = compared((1004, 60, True), (995, 40, True), (1500, 100, False))
    (found,) = comparisons(summary)
    assert {effect.measure for effect in found.effects} >= {"Accuracy", "mIoU", "Accuracy by importance"}
    for effect in (one for one in found.effects if one.measure != "mIoU"):
        assert (effect.difference.n, effect.uniform.value, effect.mapped.value) == (2, 0.5, 0.5)
        assert effect.difference.value == 0
    assert found.size_difference.value == pytest.approx(1999 / 2000 - 1) and found.size_difference.n == 2
    ((what, why),) = unequal(summary)
    assert what == "x265 with map 30, at equal rate"
    assert why == "1 of 3 pictures are left out: their files are more than 1% apart in size"


@pytest.mark.parametrize(
    ("size", "equal"),
    [(1000, False), (1000, None), (1011, True), (980, True)],
    ids=["missed", "not searched", "larger than the uniform file here", "smaller than the uniform file here"],
)
def test_equal_is_what_the_search_said_and_what_the_files_are(size: int, equal: bool | None) -> None:
    summary = compared((1000, 70, True), (size, 100, equal))
    (found,) = comparisons(summary)
    assert [effect.difference.n for effect in found.effects] == [1, 1, 1]
    assert found.effects[0].difference.value == pytest.approx(0.2)


def test_prediction_over_time_is_held_against_intra_pictures_of_the_same_coding() -> None:
    """Half the bytes at the same quality; what has no such coding beside it has no figure."""
    codings = {
        "structure=intra preset=slow": 1.0,
        "structure=lowdelay layer_offsets=false preset=slow": 0.5,
        "structure=randomaccess gop=8": 0.4,
    }
    scores = [
        scored(image, mapped=False, right=90 - 10 * step, size=round(share * 8000 / 2**step))
        | {"configuration": f"{options} {step}", "quality": 20 + step, "options": options, "psnr_y_db": 40.0 - 3 * step}
        for options, share in codings.items() for step in range(4) for image in range(2)
    ]  # fmt: skip
    summary = Summary(scores, {}, False)
    found = against_intra(summary, shown_measures(summary, {}))
    assert [(row.test.label, row.anchor.label) for row in found] == [
        ("x265 low delay layer_offsets=false preset=slow", "x265 intra preset=slow")
    ] * 2
    assert [row.measure for row in found] == ["psnr_y", "accuracy"]
    for row in found:
        assert row.bd_rate_percent.value == pytest.approx(-50) and row.bd_rate_percent.n == 2


def test_maps_are_held_against_the_same_codec_without_one() -> None:
    """Of x265 less bits at the same quality; of x264 more, and its uniform coding of fewest options is the anchor. What
    kvazaar saves is its filters' being off: a uniform coding with the map's other options takes that for itself."""
    codings = [("x265", "", 1.0), ("x265", "qp_map=block", 0.8), ("x264", "preset=slow", 0.5), ("x264", "", 2.0),
               ("x264", "off=psy qp_map=block", 2.5), ("jpeg", "qp_map=block", 1.0), ("kvazaar", "", 1.0),
               ("kvazaar", "off=sao", 0.8), ("kvazaar", "off=sao qp_map=block match=rate", 0.8)]  # fmt: skip
    scores = [
        scored(image, mapped="qp_map" in options, right=90 - 10 * step, size=round(share * 8000 / 2**step))
        | {"configuration": f"{codec} {options} {step}", "quality": 20 + step, "options": options, "encoder": codec,
           "label": codec}
        for codec, options, share in codings for step in range(4) for image in range(2)
    ]  # fmt: skip
    summary = Summary(scores, {}, False)
    found = [row for row in headroom(summary, shown_measures(summary, {})) if row.measure == "accuracy"]
    assert [(row.anchor.label, row.test.label) for row in found] == [
        ("kvazaar off=sao", "kvazaar off=sao with map"), ("x264", "x264 off=psy with map"), ("x265", "x265 with map"),
    ]  # fmt: skip
    assert [row.bd_rate_percent.value for row in found] == pytest.approx([0, 25, -20], abs=1e-9)


@pytest.mark.parametrize(
    ("asked", "words"),
    [([], ""), (["demo"], "go: demo. The same network"),
     (["c.onnx"], "go: c.onnx (xnno.c). demo judges, which was not"), (["c", "demo"], "go: c (c) and demo. The same")],
)  # fmt: skip
def test_who_was_asked_and_who_judges(asked: list[str], words: str) -> None:
    of = {name: {"network": name, "weights_sha256": name[::-1]} for name in (*asked, "demo")}
    records = [{"evidence": {"asked": of[name]}} for name in asked]
    said = judged([*records, {"evidence": {"kept_pass": 1}}, {"evidence": None}, {}], of["demo"])
    assert words in said and bool(words) == bool(said)
    assert judged(records, None) == ""
    if asked:
        assert judged(records, {"network": "files"}).endswith(".") and "judges" not in judged(records, {"files": 1})


def test_nothing_at_equal_rate_is_not_comparable() -> None:
    summary = compared((1500, 100, False), (1500, 100, False))
    (found,) = comparisons(summary)
    estimates = [found.size_difference, *(effect.difference for effect in found.effects)]
    assert {one.value for one in estimates} == {None} and found.rate_bpp is None
    reason = "not comparable: 2 of 2 pictures are left out: their files are more than 1% apart in size"
    assert {one.reason for one in estimates} == {reason}
    assert unequal(summary) == [("x265 with map 30, at equal rate", reason)]


def test_points_that_cannot_be_compared_do_not_dilute_the_others() -> None:
    """Findings count the configurations that they are about."""
    others = [score | {"quality": 40, "configuration": f"{score['configuration']} 40"}
              for score in records((1500, 60, False))]  # fmt: skip
    both = Summary(records((1000, 60, True)) + others, {}, False)
    assert [one.quality for one in comparisons(both)] == [30]
    assert [what for what, _ in unequal(both)] == ["x265 with map 40, at equal rate"]


def test_codecs_are_compared_at_about_one_rate_one_curve_of_each() -> None:
    """Neither half the size nor a map stands for a codec, nor a configuration at half the bits."""
    x265, jpeg, far = {"label": "x265"}, {"encoder": "jpeg", "label": "JPEG"}, {"encoder": "vvenc", "label": "VVenC"}
    half, mapped = {"subsampling_factor": 0.5}, {"qp_map": _MAP, "options": "qp_map=block match=rate"}
    codings = [half | {"bpp": 0.4}, mapped | {"bpp": 0.4}, x265 | {"bpp": 0.1}, x265 | {"bpp": 0.42},
               jpeg | {"bpp": 0.35}, jpeg | {"bpp": 1.3}, far | {"bpp": 0.14}]  # fmt: skip
    scores = [scored(0, mapped=False, right=50) | coding | {"rate_bpp": coding["bpp"], "configuration": str(number)}
              for number, coding in enumerate(codings)]  # fmt: skip
    found = comparable(Summary(scores, {}, False))
    assert found.points == [3, 4] and (found.rate, found.unit) == (pytest.approx(0.35), "bpp")
    assert found.missing == [("VVenC at about 0.350 bpp", "VVenC 30 is its nearest, at 0.140 bpp")]


def test_a_part_is_drawn_like_a_whole() -> None:
    """The figures of some pictures are those of an experiment that never had the others."""
    scores = [(1000, 50 + i, i % 3 > 0) for i in range(12)]
    (found,) = comparisons(Summary(records(*scores), {}))
    right = np.array([right for _, right, equal in scores if equal])
    draws = ImageJackknife(len(right))
    wanted = draws.ratio(np.stack([np.full(len(right), 50), right]), np.full(len(right), 100)).difference(1, 0)
    shown = found.effects[0].difference
    assert (shown.value, shown.low, shown.high) == (wanted.value, wanted.low, wanted.high)


def test_records_know_whether_the_search_met_its_rate(results: Results, tmp_path: Path) -> None:
    """Of compression's record, also where a score record of before does not have it; and the report says so."""
    plain = 'encoder = "jpeg"\nquality = [40]'
    config = write_toml(
        tmp_path, plain, f'{plain}\nqp_map = {{ delta = 6 }}\nmatch = "rate"', head=IMAGE_ONLY, name="maps"
    )
    compressed(results.root, config)
    found = Results(results.root, "maps")
    missed = sorted((found.folder / "records").rglob("*qp_map*/**/*.json"))[0]
    record = json.loads(missed.read_bytes())
    record["rate_search"] |= {"is_equal": False, "size_error": 0.2}
    missed.write_bytes(as_json(record))
    assert measure(results.root, config).code == 0
    told = {score["source"]: (score["is_equal"], score["size_error"]) for score in found.scores() if score["qp_map"]}
    assert told.pop(record["sources"][0]["name"]) == (False, 0.2)
    assert {equal for equal, _ in told.values()} == {True}
    assert {score["is_equal"] for score in found.scores() if not score["qp_map"]} == {None}
    for path in (found.folder / "scores").rglob("*.json"):
        score = json.loads(path.read_bytes())
        score.pop("is_equal", None)
        path.write_text(json.dumps(score))
    assert counts(measure(results.root, config))[2] == 0
    run = run_of(found, config)
    shown = report_content(run, recalled(run))
    assert [effect.difference.n for effect in shown.comparisons[0].effects] == [2] * len(shown.comparisons[0].effects)
    why = dict(shown.missing)["JPEG with map 40, at equal rate"]
    assert why.startswith("1 of 3 pictures are left out")
    assert all(record["sources"][0]["name"].rpartition("/")[2] not in overlay.title for overlay in shown.overlays)


# --- pictures that lack something


def test_a_picture_that_lacks_something_takes_nothing_from_the_others() -> None:
    """Of six pictures two have no labels, another no importance and no distances, and another no score of a metric."""
    scores = records(*[(1000 + 10 * i, 50 + i, None) for i in range(6)])
    for score in scores:
        image = int(score["source"])
        part = score["machine"]["pseudo"]
        part["bands"] = None if image == 2 else [part["confusion"], *([[]] * (len(confusion.BANDS_M) - 1))]
        part["importance"] = None if image == 2 else part["importance"]
        score["machine"]["labels"] = None if image < 2 else part
        score["iqa"] = {
            "PSNR": {"value": None if image == 3 else 30.0 + image, "reason": "small" if image == 3 else None}
        }
    summary = Summary(scores, {}, False)
    right = summary.measures("labels")["accuracy"]
    assert (right.values[1], right.n) == (pytest.approx((52 + 53 + 54 + 55) / 400), 4)
    assert summary.over("labels").rate.values[1] == pytest.approx(np.mean([1020, 1030, 1040, 1050]) * 8 / 100)
    assert summary.measures("pseudo")["accuracy"].n == 6 and summary.over("pseudo") is summary
    weighted, bands, psnr = summary.weighted("pseudo"), summary.by_band("pseudo"), summary.metric("PSNR")
    assert not isinstance(weighted, str) and not isinstance(bands, str) and not isinstance(psnr, str)
    others = [50, 51, 53, 54, 55]
    assert (weighted.n, bands[0].n, psnr.n) == (5, 5, 5)
    assert weighted.values[1] == pytest.approx(np.mean(others) / 100) == bands[0].values[1]
    assert psnr.values[0] == pytest.approx(np.mean([30, 31, 32, 34, 35]))
    assert summary.partly() == [
        "figures against labels: 4 of 6 pictures have what they need, and count",
        "figures by distance: 5 of 6 pictures have what they need, and count",
        "figures by importance: 5 of 6 pictures have what they need, and count",
    ]
    grouped = Summary(scores, {}, True, Grouping("0(?=[0-3])")).measures("pseudo")["accuracy"]
    assert grouped.lacking == "3 groups; an interval needs 5"
    shown = [
        curve
        for curve in curve_list(summary, shown_measures(summary, {}))
        if curve.against == "labels" and curve.measure == "accuracy"
    ]
    assert [point.value.n for curve in shown for point in curve.points] == [4, 4]


# --- rates that are searched


def targets(*bpp: float, quality: int | None = None) -> Summary:
    scores = []
    for number, one in enumerate(bpp):
        for image in range(2):
            missed = number == 0 and image == 1
            scores.append(scored(image, mapped=False, right=50 + 5 * number) | {
                "configuration": f"target {one}", "quality": None, "target_bpp": one, "rate_bpp": one,
                "options": f"preset target_bpp={one}", "is_equal": not missed, "size_error": -0.07 if missed else 0.001,
            })  # fmt: skip
    for image in range(2) if quality is not None else ():
        scores.append(scored(image, mapped=False, right=70) | {"quality": quality, "options": "preset"})
    return Summary(scores, {}, False)


def test_rates_that_are_searched_make_a_curve() -> None:
    summary = targets(0.1, 0.2, 0.4, 0.8)
    assert summary.series() == {"x265 preset": [0, 1, 2, 3]}
    assert [point.name for point in summary.points] == [f"x265 preset {bpp} bpp" for bpp in (0.1, 0.2, 0.4, 0.8)]


def test_searched_rates_and_qualities_are_two_curves() -> None:
    """One quality for all pictures is another choice than one rate for all: a line through both would zigzag."""
    summary = targets(0.1, 0.2, quality=30)
    assert summary.series() == {"x265 preset at set rates": [0, 1], "x265 preset": [2]}


def test_missed_rates_are_counted() -> None:
    (found,) = missed_rates(targets(0.1, 0.2))
    assert found == (
        "x265 preset 0.1 bpp",
        "1 of 2 pictures are more than 1% off that rate, at most -7.0%; they count at the rate they have",
    )


def test_a_report_has_the_curve_of_searched_rates(results: Results, tmp_path: Path) -> None:
    codings = [f'encoder = "jpeg"\ntarget = {{ bpp = {bpp} }}' for bpp in (0.4, 0.8, 1.6, 3.0)]
    config = write_toml(tmp_path, *codings, head=IMAGE_ONLY, name="targets")
    compressed(results.root, config)
    assert measure(results.root, config).code == 0
    run = run_of(Results(results.root, "targets"), config)
    shown = report_content(run, recalled(run))
    assert {curve.series.label for curve in shown.curves} == {"JPEG"}
    assert all(len(curve.points) == 4 for curve in shown.curves)
    missed = {score["target_bpp"]: 0 for score in measured(run, [], {})}
    for score in measured(run, [], {}):
        missed[score["target_bpp"]] += abs(score["size_error"]) > 0.01
    told = {what: why for what, why in shown.missing if what.startswith("JPEG")}
    assert {what: int(why.split()[0]) for what, why in told.items()} == {
        f"JPEG {bpp:g} bpp": count for bpp, count in missed.items() if count
    }
    assert told, "JPEG's qualities are whole: some picture of these is more than 1 % off"
    done = typed("report", "-d", results.root, "-s", config, "--runner", "local", "-o", tmp_path / "r.html")
    assert done.code == 0, done.err


# --- importance


def truth_of(results: Results, **settings: Any) -> tuple[DataRoot, Source, Truth]:
    data = open_root(results.root)
    source = find_sources(data, Selection())[0]
    return data, source, ground_truth.read(data, source, ImportanceSource(settings=ImportanceSettings(**settings)))


def test_importance_is_the_experiments(results: Results, config: Path) -> None:
    """Records, report and gallery weigh by the map that the experiment names, and say which."""
    map_of_its_own = "[importance]\naggregate = 'class'\nuse_speed = false\n"
    config.write_text(config.read_text().replace(TASK, map_of_its_own + TASK))
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    settings = ImportanceSettings(aggregate="class", use_speed=False)
    data = open_root(results.root)
    differs = []
    for source in find_sources(data, Selection()):
        values = read_importance(data, source, settings).values
        differs.append(not np.array_equal(values, read_importance(data, source).values))
        for score in results.scores():
            if score["source"] == str(source.name):
                assert score["machine"]["pseudo"]["importance"][1] == pytest.approx(float(values.sum(dtype=np.float64)))
    assert any(differs), "else this would see nothing"
    run = run_of(results, config)
    shown = report_content(run, recalled(run))
    (layer,) = [layer for layer in shown.overlays[0].layers if layer.name == "Importance"]
    source = next(one for one in run.sources if one.name.name in shown.overlays[0].title)
    assert np.array_equal(layer.values, read_importance(data, source, settings).values)
    facts = dict(next(block.rows for block in shown.provenance if block.title == "Importance"))
    assert facts == {"map": "computed from labels, aggregate-class-use_speed-False"}


def test_which_importance_in_words() -> None:
    assert ground_truth.in_words(ImportanceSource()) == "computed from labels, by the default settings"
    assert ground_truth.in_words(ImportanceSource(region=0.5)) == "computed from labels, by the default settings"
    assert ground_truth.in_words(ImportanceSource("files")) == "maps that lie in DATA/importance_map"


def test_importance_of_files(results: Results, config: Path) -> None:
    """Each picture's own file, whose content decides; a picture without one says so, a wrong one fails by name."""
    data = open_root(results.root)
    sources = find_sources(data, Selection())
    config.write_text(config.read_text().replace(TASK, '[importance]\nsource = "files"\n[task]\n'))
    for number, source in enumerate(sources[:2]):
        importance_path(data, source).parent.mkdir(parents=True, exist_ok=True)
        np.save(importance_path(data, source), np.full((96, 192), 0.25 * (number + 1), np.float32))
    done = measure(results.root, config, "--level", "image")
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    weights = [ImportanceSource("files")]
    for score in results.scores():
        number = [str(source.name) for source in sources].index(score["source"])
        part = score["machine"]["pseudo"]
        if number == 2:
            assert part["importance"] is None
            assert score["machine"]["notes"]["importance"] == f"no {importance_path(data, sources[2]).name}"
            continue
        pixels = dense(part["confusion"], 19)
        level = 0.25 * (number + 1)
        assert part["importance"] == pytest.approx([level * np.trace(pixels), level * pixels.sum()])
        assert part["bands"] is not None, "bands are of the disparity, whatever the map is"
    before = [ground_truth.digest(data, source, weights[0]) for source in sources]
    np.save(importance_path(data, sources[0]), np.full((96, 192), 0.9, np.float32))
    after = [ground_truth.digest(data, source, weights[0]) for source in sources]
    assert [a == b for a, b in zip(after, before, strict=True)] == [False, True, True]
    np.save(importance_path(data, sources[1]), np.full((5, 192), 0.9, np.float32))
    done = measure(results.root, config, "--level", "image")
    assert (done.code, counts(done)) == (1, (CONFIGURATIONS, CONFIGURATIONS, CONFIGURATIONS))
    assert "importance is 192x5 px, the picture 192x96 px" in done.err


def test_labels_that_are_no_label_ids_are_refused(streets: Path) -> None:
    """Train ids would be read as other classes: without disparity, too, where no importance is computed."""
    data = open_root(streets)
    source = find_sources(data, Selection())[0]
    height, width = np.asarray(Image.open(source.path)).shape[:2]
    files = files_of(data, source)
    files.labels.parent.mkdir(parents=True, exist_ok=True)
    files.disparity.unlink(missing_ok=True)
    for ids, complaint in (([0, 10, 13, 255], "holds train ids"), ([7, 11, 26, 34], "unknown ids 34")):
        found = np.resize(np.array(ids, np.uint8), (height, width))
        Image.fromarray(found).save(files.labels)
        with pytest.raises(JobError, match=complaint):
            ground_truth.read(data, source, ImportanceSource("files"))
        with pytest.raises(JobError, match=complaint):
            ground_truth.void(data, source)


def test_a_flat_folder_may_have_maps_of_its_own(tmp_path: Path, astronaut: Any) -> None:
    (tmp_path / "data").mkdir()
    Image.fromarray(astronaut[:96, :160]).save(tmp_path / "data/a.png")
    data = open_root(tmp_path / "data")
    (source,) = find_sources(data, Selection())
    assert ground_truth.read(data, source, ImportanceSource()).notes["importance"] == "needs labels"
    assert ground_truth.digest(data, source, ImportanceSource()) == "none"
    lacking = ground_truth.digest(data, source, ImportanceSource("files"))
    importance_path(data, source).parent.mkdir()
    np.save(importance_path(data, source), np.full((96, 160), 0.5, np.float32))
    known = ground_truth.read(data, source, ImportanceSource("files"))
    assert known.importance is not None and known.importance.mean() == 0.5
    assert known.train_ids is None and known.notes == {"labels": "a flat folder of images has none"}
    assert ground_truth.digest(data, source, ImportanceSource("files")) != lacking


def remove(results: Results, kind: str) -> None:
    paths = list(results.root.rglob(f"*_{kind}.*"))
    assert paths
    for path in paths:
        path.unlink()


def test_without_disparity(results: Results) -> None:
    """Bands need one, importance only where it is by distance; labels alone go on working."""
    remove(results, "disparity")
    for settings, has_importance in (({}, False), ({"use_distance": False}, True)):
        _, _, found = truth_of(results, **settings)
        assert (found.train_ids is not None, found.importance is not None) == (True, has_importance)
        assert found.distance_m is None and found.notes["distance"].endswith("_disparity.png")
        assert ("importance" in found.notes) is not has_importance


def test_without_instances(results: Results) -> None:
    """Distances are there all the same, and a map by class needs none."""
    remove(results, "instanceIds")
    for settings, has_importance in (({}, False), ({"aggregate": "class"}, True), ({"use_distance": False}, True)):
        data, source, found = truth_of(results, **settings)
        assert (found.distance_m is not None, found.importance is not None) == (True, has_importance)
        if has_importance:
            wanted = read_importance(data, source, ImportanceSettings(**settings)).values
            assert np.array_equal(found.importance, wanted)


def test_only_labels(results: Results, config: Path) -> None:
    for kind in ("disparity", "instanceIds", "camera", "vehicle"):
        remove(results, kind)
    done = measure(results.root, config, "--level", "image")
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert {score["machine"]["labels"]["importance"] for score in results.scores()} == {None}
    config.write_text(config.read_text().replace(TASK, "[importance]\nuse_distance = false\n[task]\n"))
    assert counts(measure(results.root, config, "--level", "image")) == (ALL, 0, 0)
    for score in results.scores():
        assert score["machine"]["labels"]["importance"][1] > 0 and score["machine"]["labels"]["bands"] is None


def test_all_that_decides_importance_is_in_the_digest(results: Results, tmp_path: Path) -> None:
    data = open_root(results.root)
    source = find_sources(data, Selection())[0]
    table = tmp_path / "classes.toml"

    def digest(**settings: Any) -> str:
        return ground_truth.digest(data, source, ImportanceSource(settings=ImportanceSettings(**settings)))

    plain = digest()
    assert plain == digest() and len({plain, digest(reaction_s=1.0), digest(use_class=False)}) == 3
    assert ground_truth.digest(data, source, ImportanceSource("files")) != plain
    table.write_bytes(classes.read_bytes(None))
    first = digest(classes=table)
    table.write_bytes(table.read_bytes().replace(b"importance = 0.1 ", b"importance = 0.2 "))
    assert digest(classes=table) != first
    blind = digest(use_distance=False)
    path = next(p for p in (results.root / "cityscapes/disparity").rglob("*.png") if source.name.parts[2] in p.parts)
    path.unlink()
    assert digest(use_distance=False) != blind, "bands hang on it"


# --- a report is of labels that are still there


def relabelled(results: Results) -> None:
    for kind in ("labelIds", "instanceIds"):
        path = next((results.root / "cityscapes/gtFine/val/lindau").glob(f"*_{kind}.png"))
        ids = np.asarray(Image.open(path)).copy()
        ids[ids == 7] = 8
        Image.fromarray(ids).save(path)


def test_a_report_of_other_labels_is_measured_first(results: Results, config: Path) -> None:
    run = run_of(results, config)
    assert {score["machine"]["truth"] for score in results.scores()} == {
        ground_truth.digest(run.data, source, ImportanceSource()) for source in run.sources
    }
    relabelled(results)
    done = typed("report", "-d", results.root, "-s", config, "--runner", "local", "-o", config.parent / "r.html")
    assert done.code == 2 and not (config.parent / "r.html").exists()
    assert "importance of 1 pictures are others than those that were measured with, such as lindau_000000" in done.err
    assert "run first: python run_metrics.py" in done.err
    assert measure(results.root, config).code == 0
    done = typed("report", "-d", results.root, "-s", config, "--runner", "local", "-o", config.parent / "r.html")
    assert done.code == 0, done.err


def test_labels_do_not_matter_where_no_machine_was_asked(results: Results, tmp_path: Path) -> None:
    config = write_toml(tmp_path, 'encoder = "jpeg"\nquality = [40]', head=METRICS, name="plain")
    compressed(results.root, config)
    assert measure(results.root, config).code == 0
    relabelled(results)
    recalled(run_of(Results(results.root, "plain"), config))


# --- what decides a record


def test_another_way_to_count_counts_again(results: Results, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counts(measure(results.root, config)) == (0, ALL, 0)
    keys = {score["machine"]["key"] for score in results.scores()}
    monkeypatch.setattr(score_records, "COUNTED", score_records.COUNTED + 1)
    done = measure(results.root, config)
    assert (done.code, counts(done)) == (0, (ALL, 0, 0)), done.err
    assert not keys & {score["machine"]["key"] for score in results.scores()}


def test_records_tell_which_picture_was_decoded(results: Results, config: Path) -> None:
    for score in results.scores():
        _, decoded = results.decoded(score)
        assert score["decoded_sha256"] == hashlib.sha256(decoded.tobytes()).hexdigest()
    path = results.score_path("jpeg 5")
    before = path.read_bytes()
    assert counts(measure(results.root, config)) == (0, ALL, 0)
    assert path.read_bytes() == before, "it stays where nothing has to be decoded again"


# --- names of classes


def test_answers_of_a_classifier_are_told_by_name(tmp_path: Path) -> None:
    probabilities = np.array([0.1, 0.7, 0.2], np.float32)
    pristine = np.array([0.6, 0.1, 0.3], np.float32)
    part = count(get("classification"), probabilities, pristine, Truth(folder="street"), ("cat", "dog", "street"))
    assert part["names"] == {"0": "cat", "1": "dog", "2": "street"}
    config = write_toml(tmp_path, 'encoder = "jpeg"\nquality = [40]', head=METRICS)
    root = tmp_path / "data"
    draw(root)
    compressed(root, config)
    assert measure(root, config, "--level", "image").code == 0
    run = run_of(Results(root), config)
    scores = [score | {"machine": part} for score in measured(run, [], {})]
    summary = Summary(scores, {}, False)
    gallery = Gallery(run, summary, comparable(summary).points)
    for frame in gallery.worst():
        assert (frame.prediction_pristine, frame.prediction_decoded) == ("cat", "dog")
        assert dict(frame.facts)["Probability of cat"] == "0.100"
    assert gallery.worst()
