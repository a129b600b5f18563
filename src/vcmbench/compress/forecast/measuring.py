"""What `vcmbench metrics` will take: every decoded picture is looked at once, by the machine and by the metrics.

Single pictures are scheduled with all their configurations together, stacks each alone; then blocks are sampled and
scored, and all is told. Only built-in figures are there for it, corrected by what earlier runs took (`scale`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vcmbench.compress.forecast import builtin_measuring as builtin
from vcmbench.compress.forecast.grid import Grid, Planned
from vcmbench.compress.forecast.pictures import Picture
from vcmbench.compress.forecast.schedule import Task
from vcmbench.experiment import Experiment
from vcmbench.iqa import METRICS


@dataclass(frozen=True)
class FrameCost:
    """Seconds of one core for one picture: what a GPU would take over, what it would not, and its decoder, of which
    records may know."""

    device_s: float
    host_s: float
    decoder_s: float = 0.0


class Measuring:
    """The measuring of a grid. `gpus` 0: networks and metrics run on the workers' cores."""

    def __init__(
        self, experiment: Experiment, grid: Grid, known: dict[str, set[str]], blocks_known: Collection[str],
        gpus: int = 0, scale: float = 1.0, *, labelled: bool = True,
    ) -> None:  # fmt: skip
        """`known` are the pictures of each configuration's folder that have scores, `blocks_known` the samples of
        blocks that are scored, by name; `scale` is what earlier runs took over what was predicted of them; `labelled`
        whether there are labels, against which is counted, too."""
        self._labelled = labelled
        self._experiment, self._grid, self._known = experiment, grid, known
        self.gpus, self._scale, self._pace = gpus, scale, grid.figures.pace * scale
        task, metrics = experiment.task, experiment.metrics
        self.has_network = task is not None and task.predictions == "network"
        self.has_machine = task is not None
        self.names = list(dict.fromkeys(metrics.iqa))
        self._image_names = self.names if "image" in metrics.levels else []
        self.network_note = ""
        if task is not None and self.has_network and task.model != "demo":
            self.network_note = f"the network {task.model} is taken for as slow as the embedded one"
        self.frames = self.done = 0
        self.rows_bytes = self.prediction_bytes = self.score_bytes = 0.0
        self.largest_mpx = self.largest_stack_mpx = 0.0
        self.titles: list[str] = []
        self.tasks = self._frame_tasks()
        self.block_s = self._blocks(blocks_known)
        self.pristine_s = self._pristine()
        self.tell_s = self._tell()

    def _network_s(self, mpx: float) -> float:
        return builtin.NETWORK_S_PER_MPX * mpx if self.has_network else 0.0

    def _frame(self, job: Planned, picture: Picture) -> FrameCost:
        """One decoded picture of a job."""
        mpx, coding, cost = picture.mpx, self._grid.codings[job.coding], job.cost
        host_s = builtin.SCORE_S + mpx * (builtin.TO_RGB_S_PER_MPX if cost.encoder.pixels == "yuv" else 0.0)
        host_s += mpx * (builtin.ENLARGE_RGB_S_PER_MPX if coding.subsampling_factor < 1 else 0.0)
        if job.frames > 1:  # the few pristine pictures that are kept are of no use to the next stack
            host_s += mpx * builtin.READ_S_PER_MPX
        if self.has_machine:
            host_s += mpx * (builtin.COUNT_S_PER_MPX + (builtin.WRITE_S_PER_MPX if self.has_network else
                                                        builtin.READ_PREDICTION_S_PER_MPX))  # fmt: skip
        device_s = self._network_s(mpx)
        for name in self._image_names:
            seconds = builtin.metric_s(name, self._experiment.metrics.profile, mpx)
            if METRICS[name].needs == "ffmpeg":
                host_s += seconds
            else:
                device_s += seconds
        return FrameCost(device_s, host_s, cost.tools.decode_s / job.frames)

    def _seconds(self, cost: FrameCost) -> float:
        if self.gpus:  # decoders run ahead on cores, while the GPU is at work
            return cost.host_s * self._pace + cost.device_s / builtin.GPU_SPEED
        return (cost.host_s + cost.device_s) * self._pace + cost.decoder_s * self._scale

    def _frame_tasks(self) -> list[Task]:
        """Stacks first, then pictures with all their configurations, as the units come up."""
        frames: dict[tuple[int, int, int], float] = {}
        of_picture: defaultdict[int, float] = defaultdict(float)
        stacks: list[Task] = []
        starts = {group[0]: group for group in self._grid.groups}
        titles: list[str] = []
        seen: set[int] = set()
        for job in self._grid.jobs:
            known = self._known.get(self._grid.folders[job.coding], set())
            members = starts[job.picture] if job.frames > 1 else (job.picture,)
            todo = 0
            for number in members:
                picture = self._grid.pictures[number]
                self.frames += 1
                if known and str(picture.name) in known:
                    self.done += 1
                    continue
                todo += 1
                seen.add(number)
                self._store(picture)
            if not todo:
                continue
            first = self._grid.pictures[members[0]]
            key = job.coding, first.width, first.height
            if key not in frames:
                frames[key] = self._seconds(self._frame(job, first))
            self.largest_mpx = max(self.largest_mpx, first.mpx)
            if job.frames > 1:
                self.largest_stack_mpx = max(self.largest_stack_mpx, first.mpx * job.frames)
                stacks.append(Task(frames[key] * todo))
                titles.append(self._grid.title(job))
            else:
                of_picture[job.picture] += frames[key]
        self._pictures_seen = seen
        singles = [Task(seconds) for seconds in of_picture.values()]
        self.titles = titles + [self._grid.pictures[number].name.name for number in of_picture]
        return [*stacks, *singles]

    def _store(self, picture: Picture) -> None:
        names = len(self._image_names)
        self.score_bytes += builtin.SCORE_BYTES + names * builtin.SCORE_OF_METRIC_BYTES
        if self.has_machine:
            self.score_bytes += builtin.SCORE_OF_MACHINE_BYTES
            self.score_bytes += builtin.SCORE_OF_LABELS_BYTES if self._labelled else 0
            self.rows_bytes += builtin.ROW_OF_LABELS_BYTES if self._labelled else 0
        self.rows_bytes += builtin.ROW_BYTES + names * builtin.ROW_OF_METRIC_BYTES
        if self.has_network:
            self.prediction_bytes += builtin.PREDICTION_BYTES + builtin.PREDICTION_BYTES_PER_MPX * picture.mpx

    def _pristine(self) -> float:
        """Seconds for the pristine pictures themselves, each once."""
        total = 0.0
        for number in self._pictures_seen:
            picture = self._grid.pictures[number]
            host_s = picture.mpx * (builtin.READ_S_PER_MPX + (builtin.WRITE_S_PER_MPX if self.has_network else 0.0))
            total += self._seconds(FrameCost(self._network_s(picture.mpx), host_s))
            if self.has_network:
                self.prediction_bytes += builtin.PREDICTION_BYTES + builtin.PREDICTION_BYTES_PER_MPX * picture.mpx
        return total

    # --- blocks

    def _blocks(self, known: Collection[str]) -> float:
        """Seconds of one core for sampling and scoring blocks that are not known; 0 where none are asked for."""
        metrics = self._experiment.metrics
        if not self.has_machine or "block" not in metrics.levels or not self.names:
            return 0.0
        lossy = [job for job in self._grid.jobs if job.cost.encoder.quality is not None]
        pairs = sum(job.frames for job in lossy)
        if not pairs:
            return 0.0
        wanted = metrics.blocks
        sizes = [64] if wanted.file else list(dict.fromkeys(wanted.size_px))
        total = 0.0
        for size_px in sizes:
            if f"{self._experiment.name}_{size_px}x{size_px}" in known and not wanted.file:
                continue
            count = wanted.count
            sampling = self._sampling_s(lossy)
            # blocks fall on pairs at random: how many pairs hold one at all
            share = 1 - math.exp(-count / pairs)
            # a stack is decoded whole, whatever is wanted of it
            decoding = sum(self._decoding_s(job) * (share if job.frames == 1 else 1.0) for job in lossy)
            scoring = count * sum(builtin.block_s(name, metrics.profile, size_px) for name in self.names)
            total += sampling + decoding + scoring
            self.rows_bytes += count * (builtin.BLOCK_BYTES + len(self.names) * builtin.BLOCK_OF_METRIC_BYTES)
        return total * self._pace

    def _sampling_s(self, lossy: Sequence[Planned]) -> float:
        per_mpx = builtin.READ_PREDICTION_S_PER_MPX + builtin.STRATA_S_PER_MPX
        return sum(job.frames * (per_mpx * self._grid.pictures[job.picture].mpx + builtin.OFFER_S) for job in lossy)

    def _decoding_s(self, job: Planned) -> float:
        mpx = self._grid.pictures[job.picture].mpx * job.frames
        is_scaled = self._grid.codings[job.coding].subsampling_factor < 1
        to_rgb = builtin.TO_RGB_S_PER_MPX if job.cost.encoder.pixels == "yuv" else 0.0
        return job.cost.tools.decode_s + mpx * (to_rgb + (builtin.ENLARGE_RGB_S_PER_MPX if is_scaled else 0.0))

    def _tell(self) -> float:
        """Seconds at the end, on one core: tables, correlations with their resamples, and the report."""
        metrics = self._experiment.metrics
        samples = self.frames + (metrics.blocks.count * len(metrics.blocks.size_px) if self.block_s else 0)
        resampled = samples * len(self.names) * (1 + metrics.bootstrap)
        return builtin.TELL_S + self.frames * builtin.TELL_FRAME_S + resampled * builtin.RESAMPLE_S

    @property
    def fixed_s(self) -> float:
        """Seconds that no worker shortens: the start, and telling it all."""
        return (builtin.START_S if self.has_network else builtin.PLAIN_START_S) + self.tell_s

    @property
    def report_bytes(self) -> int:
        return builtin.REPORT_BYTES + builtin.REPORT_OF_METRIC_BYTES * len(self.names)

    @property
    def process_mb(self) -> float:
        """Peak memory of one worker's process: the network and the metrics come one after the other."""
        base = builtin.PROCESS_MB if self.has_network or self.names else builtin.PLAIN_PROCESS_MB
        learned = any(METRICS[name].needs == "weights" for name in self._image_names)
        per_mpx = max(builtin.METRICS_MB_PER_MPX, builtin.NETWORK_MB_PER_MPX if self.has_network else 0.0,
                      builtin.LEARNED_MB_PER_MPX if learned else 0.0)  # fmt: skip
        return base + per_mpx * self.largest_mpx
