"""What a report shows, as plain data: `build` fills it, `html/page` and `figures` show it.

Every list may be empty; its section then says so, or is left out. A figure that is not known is an `Estimate` without a
value and with a reason. All texts may hold anything: they are names of files and of people's configurations, and are
escaped where they are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vcmbench.data.effort import Effort
from vcmbench.data.estimate import Estimate
from vcmbench.data.labels import CLASSES, PALETTE
from vcmbench.report.text import AGAINST, measures

MOST_DOTS = 600
"""Of a scatter plot."""


@dataclass(frozen=True)
class Series:
    """A line of a chart: `label` is shown, `encoder` decides the colour, so that a codec has one in all charts.

    Two series of one encoder (another chroma format, another factor) get other dashes and hollow markers.
    """

    label: str
    encoder: str


@dataclass(frozen=True)
class RatePoint:
    """One configuration on a curve. `rate` > 0, of all pictures, in the curve's unit. `quality`: the encoder's own."""

    quality: float | None
    rate: float
    value: Estimate


@dataclass(frozen=True)
class RateCurve:
    """A measure over rate. `against` of AGAINST, `measure` of `text.measures`; `pristine` is what the pristine
    pictures reach (against labels; None where it is 1 by definition). Points in any order. Rates are in `unit`: bpp,
    bits over pixels, or of sequences kbit/s."""

    series: Series
    against: str
    measure: str
    points: Sequence[RatePoint]
    pristine: Estimate | None = None
    higher_is_better: bool = True
    unit: str = "bpp"

    def __post_init__(self) -> None:
        if self.against not in AGAINST or self.measure not in measures():
            raise ValueError(f"{self.measure!r} against {self.against!r}: {list(measures())} against {list(AGAINST)}")

    @property
    def shown(self) -> list[tuple[float, Estimate, float | None]]:
        """Rate, value and quality of the points that can be drawn, by rate."""
        points = [(p.rate, p.value, p.quality) for p in self.points
                  if p.value.value is not None and p.rate > 0]  # fmt: skip
        return sorted(points, key=lambda point: point[0])


def pristine_levels(curves: Sequence[RateCurve]) -> list[float]:
    """What pristine pictures reach, each level once."""
    return sorted({round(c.pristine.value, 4) for c in curves if c.pristine and c.pristine.value is not None})


@dataclass(frozen=True)
class CorrelationRow:
    """One metric. `values` has an Estimate for each of STATISTICS, `oriented` is SROCC in the direction that the metric
    means; `verdict` is that of `correlation.Comparison`."""

    metric: str
    values: Mapping[str, Estimate]
    verdict: str = ""
    p_holm: float | None = None
    oriented: Estimate = field(default_factory=lambda: Estimate(reason="not computed"))


@dataclass(frozen=True)
class CorrelationTable:
    """All metrics at one level ("image", "block"), for all codecs (`group` "all") or one: n samples of `clusters`
    source images, of blocks of `size` ("64x64"). `baselines` are what metrics are to beat."""

    level: str
    n: int
    clusters: int
    rows: Sequence[CorrelationRow]
    group: str = "all"
    machine: str = "accuracy against the pseudo ground truth"
    note: str = ""
    size: str = ""
    baselines: Sequence[CorrelationRow] = ()


@dataclass(frozen=True)
class Cloud:
    """Samples of one series: metric and machine score, both (n,) float. Pairs that are not finite are not shown."""

    series: Series
    metric: NDArray[np.float64]
    machine: NDArray[np.float64]


@dataclass(frozen=True)
class Scatter:
    """One metric against the machine's score. `fit` is a curve to draw, (m, 2) float of metric and machine score."""

    level: str
    metric: str
    clouds: Sequence[Cloud]
    machine: str = "Accuracy"
    unit: str = ""
    higher_is_better: bool = True
    srocc: Estimate | None = None
    fit: NDArray[np.float64] | None = None

    def sampled(self) -> tuple[list[NDArray[np.float64]], int]:
        """Of each cloud its share of MOST_DOTS samples as (n, 2) metric and machine; and how many there were in all.

        Drawn without replacement by a generator of fixed seed, so that a report is the same each time.
        """
        clouds = [np.column_stack([cloud.metric, cloud.machine]).astype(float) for cloud in self.clouds]
        clouds = [cloud[np.isfinite(cloud).all(axis=1)] for cloud in clouds]
        total = sum(len(cloud) for cloud in clouds)
        random = np.random.default_rng(0)
        kept = [len(cloud) if total <= MOST_DOTS else max(1, round(MOST_DOTS * len(cloud) / total)) for cloud in clouds]
        return [
            cloud[np.sort(random.choice(len(cloud), min(keep, len(cloud)), replace=False))] if len(cloud) else cloud
            for cloud, keep in zip(clouds, kept, strict=True)
        ], total


@dataclass(frozen=True)
class Losses:
    """What was lost, by class, distance or importance: `losses[row][column]` is pristine minus decoded (1 minus the
    value where against the pseudo ground truth), in units of `measure`, so that more is worse. `condition` says in a
    few words which configurations this is about. `pixels` counts those of each row in the truth, where known."""

    against: str
    measure: str
    condition: str
    rows: Sequence[str]
    columns: Sequence[Series]
    losses: Sequence[Sequence[Estimate]]
    pixels: Sequence[int] | None = None
    by: str = "distance"  # unless rows are classes

    def __post_init__(self) -> None:
        if len(self.losses) != len(self.rows) or any(len(row) != len(self.columns) for row in self.losses):
            raise ValueError(f"losses must be {len(self.rows)} rows of {len(self.columns)} estimates")


@dataclass(frozen=True)
class MapEffect:
    """One measure of a comparison, e.g. "Within 0-15 m". `difference` is mapped minus uniform, paired by picture."""

    measure: str
    uniform: Estimate
    mapped: Estimate
    difference: Estimate


@dataclass(frozen=True)
class MapComparison:
    """A configuration with an importance map and without, at equal rate. `size_difference` is relative (0.01 = 1 %).

    `series` names it without its quality, which is shown behind it.
    """

    series: Series
    quality: float | None
    method: str
    rate_bpp: float | None
    size_difference: Estimate
    effects: Sequence[MapEffect]
    options: str = ""

    @property
    def name(self) -> str:
        """The series and its quality."""
        return self.series.label if self.quality is None else f"{self.series.label} {self.quality:g}"


def by_measure(comparisons: Sequence[MapComparison]) -> dict[str, list[tuple[MapComparison, MapEffect]]]:
    """The effects of all comparisons on each measure."""
    found: dict[str, list[tuple[MapComparison, MapEffect]]] = {}
    for one in comparisons:
        for effect in one.effects:
            found.setdefault(effect.measure, []).append((one, effect))
    return found


@dataclass(frozen=True)
class BdRow:
    """Bjontegaard: `test` against `anchor`, rate in percent (less is better), value in the measure's unit.

    `overlap` is the range that both curves share, in the measure and in bpp, where known; efforts are None where not.
    """

    anchor: Series
    test: Series
    against: str
    measure: str
    method: str
    bd_rate_percent: Estimate
    bd_value: Estimate
    overlap: str = ""
    anchor_effort: Effort | None = None
    test_effort: Effort | None = None
    of_sequences: Estimate | None = None
    """The mean of the BD-rates of all sequences; None where there are none."""

    @property
    def times(self) -> str:
        """How much more time the slower encoder took than the faster one, as "3.9"; empty where that is not known."""
        one, other = self.anchor_effort, self.test_effort
        return one.times(other) if one is not None and other is not None else ""

    @property
    def differs_in_time(self) -> bool:
        """Whether one of both encoders took more than twice the time of the other."""
        one, other = self.anchor_effort, self.test_effort
        return one is not None and other is not None and one.differs(other)


@dataclass(frozen=True)
class Layer:
    """A heat map: `values` float, the picture's (H, W), or (rows, columns) a block of `block_px` each, NaN where not
    known. Shown from `low` to `high` (None: what occurs). `kind` "scale"; or "diverging", which is shown around 0,
    or "mask", where it is over 0.5."""

    name: str
    values: NDArray[Any]
    unit: str = ""
    block_px: float | None = None
    low: float | None = None
    high: float | None = None
    kind: str = "scale"
    note: str = ""


@dataclass(frozen=True)
class Overlay:
    """A picture (H, W, 3) uint8 RGB with heat maps to lay over it, and `blocks` (x, y, width, height in px) with words
    on each. `missing` says of other maps why they are not there."""

    title: str
    picture: NDArray[np.uint8]
    layers: Sequence[Layer]
    note: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    blocks: Sequence[tuple[int, int, int, int, str]] = ()


@dataclass(frozen=True)
class WorstFrame:
    """A picture that lost much: pristine and decoded, (H, W, 3) uint8 RGB, and the predictions on both.

    Predictions are (H, W) uint8 train ids (255 is void), or a class's name as str. `facts` are shown below, such as
    ("Accuracy", "0.41").
    """

    title: str
    pristine: NDArray[np.uint8]
    decoded: NDArray[np.uint8]
    prediction_pristine: NDArray[np.uint8] | str
    prediction_decoded: NDArray[np.uint8] | str
    facts: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Timeline:
    """A coded sequence, an entry a frame: `kbit`, `qp` and `types` ("IPPB") are empty where they are not known;
    `accuracy` and the shares of pixels that `changed` class since the frame before are None where one is not known.
    `clip` is an animated WebP."""

    title: str
    series: Series
    times_s: Sequence[float]
    types: str
    kbit: Sequence[float]
    qp: Sequence[float]
    accuracy: Sequence[float | None]
    changed: Sequence[float | None]
    changed_pristine: Sequence[float | None]
    clip: bytes
    fps: float


@dataclass(frozen=True)
class Facts:
    """A block of provenance: names and values."""

    title: str
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class ReportContent:
    """A whole report.

    `created` is an ISO date, given by the caller. `summary` says in a sentence or two what was done. `facts` are few
    and short (pictures, configurations, network). All stands on so many source `pictures`, frames of so many
    `sequences` (0: of none). `findings` and `warnings` are said before those that the report draws from its data.
    `missing` lists (what, why). `commands` made the data, in order. `against_intra` has codings over time, `headroom`
    mapped ones; `judged` says by which networks. `classes` by train id have `palette`'s colours, (K, 3) uint8 RGB.
    """

    title: str
    experiment: str
    created: str
    summary: str = ""
    pictures: int | None = None
    sequences: int = 0
    facts: Sequence[tuple[str, str]] = ()
    findings: Sequence[str] = ()
    warnings: Sequence[str] = ()
    curves: Sequence[RateCurve] = ()
    correlations: Sequence[CorrelationTable] = ()
    scatters: Sequence[Scatter] = ()
    class_damage: Sequence[Losses] = ()
    band_damage: Sequence[Losses] = ()
    comparisons: Sequence[MapComparison] = ()
    bd: Sequence[BdRow] = ()
    against_intra: Sequence[BdRow] = ()
    headroom: Sequence[BdRow] = ()
    judged: str = ""
    overlays: Sequence[Overlay] = ()
    worst: Sequence[WorstFrame] = ()
    timelines: Sequence[Timeline] = ()
    commands: Sequence[str] = ()
    provenance: Sequence[Facts] = ()
    missing: Sequence[tuple[str, str]] = ()
    classes: Sequence[str] = CLASSES
    palette: NDArray[np.uint8] = field(default_factory=lambda: PALETTE)

    def curves_of(self, against: str, measure: str) -> list[RateCurve]:
        """The curves of one chart."""
        return [one for one in self.curves if (one.against, one.measure) == (against, measure) and one.points]
