"""The sampler against exhaustive enumeration: every block allowed, every block equally likely where it should be."""

from __future__ import annotations

import sys
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from vcmbench.errors import JobError, RequestError
from vcmbench.measure.blocks import Block, Sources, sample
from vcmbench.measure.blocks.sampler import NoBlocksError, _Draw
from vcmbench.measure.blocks.strata import box_sums, strata_of

Ids = NDArray[np.uint8]
Mask = NDArray[np.bool_]
NEVER_BY_CHANCE = 1e-3


@dataclass
class World:
    """Predictions of some images in some configurations, held in memory, and what was read of them."""

    pristine: dict[str, Ids]
    decoded: dict[tuple[str, str], Ids]
    void: dict[str, Mask] = field(default_factory=dict)
    read: Counter[Any] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(self.decoded)

    def sources(self) -> Sources:
        return Sources(
            lambda image: self._read("pristine", image, self.pristine[image]),
            lambda *pair: self._read("decoded", pair, self.decoded[pair]),
            lambda image: self._read("void", image, self.void.get(image)),
        )

    def _read(self, what: str, key: Any, value: Any) -> Any:
        with self.lock:
            self.read[what, key] += 1
        return value

    def right(self, image: str, configuration: str, box: tuple[int, int, int, int]) -> int | None:
        """Pixels of a block that are right, counted one by one; None where it holds a void one."""
        x, y, width, height = box
        right = 0
        for row in range(y, y + height):
            for column in range(x, x + width):
                if image in self.void and self.void[image][row, column]:
                    return None
                right += int(self.pristine[image][row, column] == self.decoded[image, configuration][row, column])
        return right

    def positions(
        self, width: int, height: int, strata: int
    ) -> dict[int, dict[tuple[str, str], list[tuple[int, int]]]]:
        """Every allowed block by its stratum and its pair."""
        found: dict[int, dict[tuple[str, str], list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        for image, configuration in self.pairs:
            rows, columns = self.pristine[image].shape
            for y in range(rows - height + 1):
                for x in range(columns - width + 1):
                    right = self.right(image, configuration, (x, y, width, height))
                    if right is not None:
                        stratum = stratum_of(right, width * height, strata)
                        found[stratum][image, configuration].append((x, y))
        return found


def stratum_of(right: int, pixels: int, strata: int) -> int:
    """By the definition, in whole numbers: i/k <= right/pixels < (i+1)/k, closed at 1."""
    fits = [i for i in range(strata) if i * pixels <= right * strata and right * strata < (i + 1) * pixels]
    return fits[0] if fits else strata - 1


def make_world(
    seed: int = 0, shapes: tuple[tuple[int, int], ...] = ((9, 11), (8, 10), (12, 7)), void: bool = True
) -> World:
    """Random class ids; the share of wrong pixels differs by configuration and from left to right."""
    rng = np.random.default_rng(seed)
    world = World({}, {})
    for number, (rows, columns) in enumerate(shapes):
        image = f"city/image{number}"
        pristine = rng.integers(0, 19, (rows, columns), np.uint8)
        world.pristine[image] = pristine
        for name, worst in (("good", 0.35), ("fair", 1.0), ("bad", 1.6)):
            wrong = rng.random((rows, columns)) < worst * np.linspace(0, 1, columns)
            world.decoded[image, name] = np.where(wrong, (pristine + 1) % 19, pristine)
        if void:
            world.void[image] = np.zeros((rows, columns), np.bool_)
            world.void[image][rng.integers(rows), rng.integers(columns)] = True
    return world


def p_of_uniform(values: list[Any], cells: int) -> float:
    """p of the chi-square test that `values` are drawn uniformly from so many cells."""
    seen = list(Counter(values).values())
    assert len(seen) <= cells
    return float(stats.chisquare(seen + [0] * (cells - len(seen))).pvalue)


COUNT, STRATA, SIZE = 40_000, 4, (3, 2)


@pytest.fixture(scope="module")
def drawn() -> tuple[World, list[Block]]:
    world = make_world()
    return world, list(sample(world.pairs, world.sources(), COUNT, SIZE, STRATA, seed=11).blocks)


def strata_in(blocks: list[Block], strata: int) -> list[int]:
    return [stratum_of(round(b.accuracy * b.width * b.height), b.width * b.height, strata) for b in blocks]


def test_strata_are_uniform(drawn: tuple[World, list[Block]]) -> None:
    assert p_of_uniform(strata_in(drawn[1], STRATA), STRATA) > NEVER_BY_CHANCE


def test_pairs_are_uniform_among_those_that_have_the_stratum(drawn: tuple[World, list[Block]]) -> None:
    world, blocks = drawn
    there = world.positions(*SIZE, STRATA)
    assert any(len(there[i]) < len(world.pairs) for i in range(STRATA)), "no pair lacks a stratum: a weak test"
    by_stratum = defaultdict(list)
    for stratum, block in zip(strata_in(blocks, STRATA), blocks, strict=True):
        by_stratum[stratum].append((block.image, block.configuration))
    for stratum, pairs in by_stratum.items():
        assert set(pairs) == set(there[stratum])
        assert p_of_uniform(pairs, len(there[stratum])) > NEVER_BY_CHANCE


def test_every_block_has_the_probability_of_the_algorithm(drawn: tuple[World, list[Block]]) -> None:
    world, blocks = drawn
    seen = Counter((block.image, block.configuration, block.x, block.y) for block in blocks)
    expected = {
        (*pair, x, y): COUNT / STRATA / len(pairs) / len(places)
        for pairs in world.positions(*SIZE, STRATA).values()
        for pair, places in pairs.items()
        for x, y in places
    }
    assert set(seen) <= set(expected)
    assert min(expected.values()) > 5
    assert sum(expected.values()) == pytest.approx(COUNT)
    assert stats.chisquare([seen[key] for key in expected], list(expected.values())).pvalue > NEVER_BY_CHANCE


def test_blocks_of_a_sample_are_independent_of_each_other_and_so_are_seeds() -> None:
    world = make_world(shapes=((4, 4),))
    chosen = []
    for seed in range(1500):
        blocks = sample(world.pairs, world.sources(), 3, (4, 3), 1, seed, jobs=1).blocks
        chosen.append(tuple(block.configuration for block in blocks))
    assert p_of_uniform(chosen, 3**3) > NEVER_BY_CHANCE


def test_strata_and_the_pairs_chosen_are_independent() -> None:
    pristine = np.zeros((1, 2), np.uint8)
    decoded = np.array([[0, 1]], np.uint8)
    world = World({"a": pristine}, {("a", str(i)): decoded for i in range(5)})
    blocks = [
        b for seed in range(300) for b in sample(world.pairs, world.sources(), 10, (1, 1), 2, seed, jobs=1).blocks
    ]
    assert p_of_uniform([(block.x, block.configuration) for block in blocks], 10) > NEVER_BY_CHANCE


@pytest.mark.parametrize(("width", "height", "strata"), [(16, 16, 10), (13, 7, 10), (1, 30, 7), (40, 1, 3)])
def test_every_block_recounted(width: int, height: int, strata: int) -> None:
    world = make_world(5, ((40, 60), (64, 48), (33, 41)))
    result = sample(world.pairs, world.sources(), 400, (width, height), strata, seed=2)
    assert len(result.blocks) == 400
    for block in result.blocks:
        rows, columns = world.pristine[block.image].shape
        assert block.x >= 0 and block.y >= 0 and block.x + width <= columns and block.y + height <= rows
        right = world.right(block.image, block.configuration, block.box)
        assert right is not None, f"void pixel in {block}"
        assert block.accuracy == right / (width * height)
    counts = np.bincount(strata_in(list(result.blocks), strata), minlength=strata)
    assert counts.sum() == 400 and (counts > 0).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 100),
    st.integers(0, 99),
)
def test_strata_of_every_position(rows: int, columns: int, width: int, height: int, strata: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random((rows, columns)) < rng.random()
    found = strata_of(same, width, height, strata)
    if width > columns or height > rows:
        assert found is None
        return
    assert found is not None
    expected = np.empty((rows - height + 1, columns - width + 1), np.int64)
    for y, x in np.ndindex(*expected.shape):
        right = int(same[y : y + height, x : x + width].sum())
        assert found.right[y, x] == right
        expected[y, x] = stratum_of(right, width * height, strata)
    np.testing.assert_array_equal(found.number, expected)
    counts = found.counts()
    np.testing.assert_array_equal(counts, np.bincount(expected.ravel(), minlength=strata))
    stratum = int(np.argmax(counts))
    x, y = found.positions(stratum, np.arange(counts[stratum]))
    assert list(zip(y, x, strict=True)) == list(zip(*np.nonzero(expected == stratum), strict=True))


def test_blocks_of_more_pixels_than_16_bits_hold() -> None:
    rng = np.random.default_rng(1)
    mask = rng.random((280, 300)) < 0.99
    sums = box_sums(mask, 260, 256)
    whole = np.pad(mask.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    np.testing.assert_array_equal(
        sums, whole[256:, 260:] - whole[:-256, 260:] - whole[256:, :-260] + whole[:-256, :-260]
    )
    assert sums.max() > 65535


def test_the_edges_of_strata_are_whole_numbers() -> None:
    """Of 90 pixels 63 are exactly 7/10: floating point puts the edge above 63 or below, as it comes."""
    for pixels, strata in [(p, k) for p in (10, 49, 90, 98, 100, 245, 490) for k in (3, 7, 10, 49, 98)]:
        same = np.zeros((1, 2 * pixels), np.bool_)
        same[0, pixels:] = True
        found = strata_of(same, pixels, 1, strata)
        assert found is not None
        right = found.right[0].tolist()
        assert found.number[0].tolist() == [stratum_of(one, pixels, strata) for one in right]


def test_the_same_seed_gives_the_same_blocks_on_any_number_of_threads() -> None:
    world = make_world(1, ((40, 60), (30, 30), (50, 44), (33, 41)))
    results = [sample(world.pairs, world.sources(), 500, (8, 8), seed=7, jobs=jobs) for jobs in (1, 2, 5, 12)]
    assert all(result == results[0] for result in results)
    assert sample(world.pairs, world.sources(), 500, (8, 8), seed=8).blocks != results[0].blocks


def test_the_order_in_which_pairs_come_does_not_matter() -> None:
    world = make_world(1)
    found = []
    for order in (range(9), reversed(range(9)), [4, 8, 0, 2, 6, 1, 3, 7, 5]):
        draw = _Draw(300, 3, 2, 4, seed=3)
        for index in order:
            image, configuration = world.pairs[index]
            strata = strata_of(world.decoded[image, configuration] == world.pristine[image], 3, 2, 4)
            assert strata is not None
            draw.offer(index, strata)
        found.append(list(draw.blocks(world.pairs)))
    assert found[0] == found[1] == found[2]


def test_each_file_is_read_once() -> None:
    world = make_world()
    told: list[str] = []
    sample(world.pairs, world.sources(), 2000, (3, 3), 4, advance=told.append)
    assert set(world.read.values()) == {1}
    assert len(world.read) == 3 + 3 + 9
    assert Counter(told) == dict.fromkeys(world.pristine, 3)


def test_pictures_do_not_stay_in_memory() -> None:
    alive, most = 0, 0
    lock = threading.Lock()

    def picture(*_: str) -> Ids:
        nonlocal alive, most
        made = np.zeros((20, 20), np.uint8)
        with lock:
            alive += 1
            most = max(most, alive)
        weakref.finalize(made, gone)
        return made

    def gone() -> None:
        nonlocal alive
        with lock:
            alive -= 1

    pairs = [(f"image{i}", f"configuration{j}") for i in range(60) for j in range(2)]
    sample(pairs, Sources(picture, picture), 50, (4, 4), strata=1, jobs=2)
    assert most <= 10
    assert alive == 0


def test_the_pairs_that_have_a_stratum_are_counted() -> None:
    world = make_world(2)
    result = sample(world.pairs, world.sources(), 100, (3, 2), 4)
    there = world.positions(3, 2, 4)
    assert result.pairs_with == tuple(len(there[i]) for i in range(4))


def test_an_empty_stratum_is_named() -> None:
    world = make_world()
    for (image, name), decoded in world.decoded.items():
        world.decoded[image, name] = world.pristine[image] if name == "good" else np.where(decoded < 255, 255, 0)
    with pytest.raises(RequestError) as caught:
        sample(world.pairs, world.sources(), 200, (2, 2), 5)
    line = str(caught.value)
    assert "\n" not in line
    for words in ("blocks of 2x2 px", "9 pairs", "[0.2, 0.4) or [0.4, 0.6) or [0.6, 0.8)", "[0, 0.2) 6", "[0.8, 1] 3"):
        assert words in line, line


def test_a_stratum_that_is_empty_but_was_not_drawn_does_no_harm() -> None:
    world = make_world(void=False)
    world.decoded = {pair: world.pristine[pair[0]] for pair in world.decoded}
    outcomes = set()
    for seed in range(20):
        try:
            (block,) = sample(world.pairs, world.sources(), 1, (2, 2), 2, seed).blocks
            outcomes.add(block.accuracy)
        except RequestError as error:
            outcomes.add(str(error).split(":")[0])
    assert outcomes == {1.0, "blocks of 2x2 px"}


def test_nothing_but_void_is_no_block() -> None:
    world = make_world()
    world.void = {image: np.ones_like(mask) for image, mask in world.void.items()}
    with pytest.raises(NoBlocksError, match="each would hold void pixels"):
        sample(world.pairs, world.sources(), 50, (2, 2), 2)


@pytest.mark.parametrize("labels", [True, False])
def test_void_pixels_that_leave_one_place(labels: bool) -> None:
    """Void in the labels, or in the prediction on the pristine picture, whatever the other one predicts there."""
    world = make_world(shapes=((9, 11),), void=False)
    void = np.ones((9, 11), np.bool_)
    void[4:6, 7:10] = False
    if labels:
        world.void = dict.fromkeys(world.pristine, void)
    else:
        for pair in world.pairs:
            world.decoded[pair][void] = 255
        for pristine in world.pristine.values():
            pristine[void] = 255
    blocks = sample(world.pairs, world.sources(), 50, (3, 2), 1).blocks
    assert {block.box for block in blocks} == {(7, 4, 3, 2)}
    assert {block.configuration for block in blocks} == {"good", "fair", "bad"}


def test_missing_labels_are_said() -> None:
    world = make_world()
    assert sample(world.pairs, world.sources(), 10, (2, 2), 2).notes == ()
    del world.void["city/image1"]
    (note,) = sample(world.pairs, world.sources(), 10, (2, 2), 2).notes
    assert "1 of 3 images have no labels" in note
    world.void.clear()
    (note,) = sample(world.pairs, world.sources(), 10, (2, 2), 2).notes
    assert "no image has labels" in note
    plain = Sources(world.sources().pristine, world.sources().decoded)
    assert sample(world.pairs, plain, 10, (2, 2), 2).notes == (note,)


def test_pictures_smaller_than_the_block_have_none() -> None:
    world = make_world(shapes=((9, 11), (3, 30), (30, 3)))
    blocks = sample(world.pairs, world.sources(), 60, (4, 4), 2).blocks
    assert {block.image for block in blocks} == {"city/image0"}
    with pytest.raises(RequestError, match="blocks of 31x1 px: larger than every picture"):
        sample(world.pairs, world.sources(), 60, (31, 1), 2)


def test_predictions_of_two_sizes() -> None:
    world = make_world()
    world.decoded["city/image1", "fair"] = np.zeros((4, 4), np.uint8)
    with pytest.raises(JobError, match=r"city/image1, fair: .* 4x4 px, .* 10x8 px"):
        sample(world.pairs, world.sources(), 60, (2, 2), 2)


def test_labels_of_another_size() -> None:
    world = make_world()
    world.void["city/image1"] = np.zeros((4, 4), np.bool_)
    with pytest.raises(JobError, match=r"city/image1: the labels have 4x4 px, the prediction 10x8 px"):
        sample(world.pairs, world.sources(), 60, (2, 2), 2)


@pytest.mark.parametrize("error", [OSError("cut off"), ValueError("cut off"), JobError("city/image1 in fair: cut off")])
def test_a_prediction_that_cannot_be_read_is_named(error: Exception) -> None:
    world = make_world()
    sources = world.sources()

    def decoded(image: str, configuration: str) -> Ids:
        if (image, configuration) == ("city/image1", "fair"):
            raise error
        return sources.decoded(image, configuration)

    with pytest.raises(JobError, match=r"city/image1.*fair.*cut off"):
        sample(world.pairs, Sources(sources.pristine, decoded, sources.void), 60, (2, 2), 2)


def test_opencv_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(RequestError, match=r"needs OpenCV.*install it: "):
        sample(world.pairs, world.sources(), 60, (2, 2), 2)


def change(**values: Any) -> Callable[[], object]:
    world = make_world(void=False)
    given: dict[str, Any] = {
        "pairs": world.pairs,
        "count": 5,
        "size": (2, 2),
        "strata": 2,
        "seed": 0,
        "jobs": 1,
    }
    given |= values
    return lambda: sample(sources=world.sources(), **given)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (change(count=0), "count 0"),
        (change(size=(0, 2)), "width 0"),
        (change(size=(2, -3)), "height -3"),
        (change(strata=0), "strata 0"),
        (change(strata=101), "strata 101"),
        (change(seed=-1), "seed -1"),
        (change(jobs=0), "jobs 0"),
        (change(pairs=[]), "no image in any configuration"),
        (change(pairs=[("city/image0", "good")] * 2), "city/image0 in good is there twice"),
    ],
)
def test_requests_that_make_no_sense(call: Callable[[], object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        call()
