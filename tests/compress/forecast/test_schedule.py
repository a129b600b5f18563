"""The schedule against an independent implementation, and its bounds."""

from __future__ import annotations

import itertools
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from vcmbench.compress.forecast.schedule import Task, ladder, simulate

# whole numbers of seconds, so that sums are exact and bounds can be held to equality
seconds = st.lists(st.integers(1, 1000), min_size=1, max_size=60)
workers = st.integers(1, 12)


def tasks_of(durations: list[int]) -> list[Task]:
    return [Task(float(one)) for one in durations]


def second_by_second(tasks: list[Task], count: int) -> tuple[int, int]:
    """The same, without a heap: time goes on a second at a time, and idle workers take the next task, in order of
    who is idle longest. Returns wall time and busy seconds."""
    left: list[int] = [0] * count
    idle_since = [0] * count
    held: list[object] = [None] * count
    waiting = list(tasks)
    busy = now = 0
    while waiting or any(left):
        for worker in sorted(range(count), key=lambda one: (idle_since[one], one)):
            if waiting and not left[worker]:
                task = waiting.pop(0)
                left[worker] = int(task.seconds)
                if task.shared is not None and held[worker] != task.shared:
                    held[worker] = task.shared
                    left[worker] += int(task.shared_s)
        now += 1
        for worker in range(count):
            if left[worker]:
                busy += 1
                left[worker] -= 1
                idle_since[worker] = now
    return now, busy


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=25), workers)
def test_agrees_with_a_clock_that_ticks(found: list[tuple[int, int, int]], count: int) -> None:
    tasks = [Task(float(own), float(shared_s), shared or None) for own, shared_s, shared in found]
    schedule = simulate(tasks, count)
    assert (schedule.wall_s, schedule.busy_s) == second_by_second(tasks, count)


def test_agrees_with_every_assignment_that_list_scheduling_allows() -> None:
    """Brute force: of all assignments of tasks to two workers in order, the greedy one is the simulated one."""
    durations = [5, 3, 4, 2, 6, 1, 3]
    for order in itertools.permutations(durations, 5):
        ends = [0, 0]
        for one in order:
            ends[ends.index(min(ends))] += one
        assert simulate(tasks_of(list(order)), 2).wall_s == max(ends)


@given(seconds, workers)
def test_never_below_what_is_possible_and_within_grahams_bound(durations: list[int], count: int) -> None:
    schedule = simulate(tasks_of(durations), count)
    total, longest = sum(durations), max(durations)
    assert schedule.busy_s == total
    assert schedule.longest_s == longest
    assert durations[schedule.longest or 0] == longest
    assert schedule.wall_s >= longest
    assert Fraction(schedule.wall_s) >= Fraction(total, count)
    # Graham 1966: at most (2 - 1/m) times the optimum, by this very bound
    assert Fraction(schedule.wall_s) <= Fraction(total, count) + longest * (1 - Fraction(1, count))


@given(st.integers(1, 100), st.integers(1, 50), workers)
def test_equal_jobs_take_whole_rounds_and_more_workers_never_hurt(duration: int, jobs: int, count: int) -> None:
    tasks = tasks_of([duration] * jobs)
    assert simulate(tasks, count).wall_s == duration * -(-jobs // count)
    assert simulate(tasks, count + 1).wall_s <= simulate(tasks, count).wall_s


@given(seconds)
@settings(max_examples=30)
def test_one_worker_does_all_of_it_and_as_many_as_jobs_only_the_longest(durations: list[int]) -> None:
    tasks = tasks_of(durations)
    assert simulate(tasks, 1).wall_s == sum(durations)
    assert simulate(tasks, len(durations)).wall_s == max(durations)
    assert simulate(tasks, 10**6).wall_s == max(durations)


def test_what_a_picture_shares_is_paid_once_a_worker() -> None:
    tasks = [Task(1.0, 10.0, "a")] * 4 + [Task(1.0, 10.0, "b")] * 4
    assert simulate(tasks, 1).busy_s == 8 + 2 * 10
    assert simulate(tasks, 2).busy_s == 8 + 4 * 10
    assert simulate(tasks, 1).longest_s == 11


def test_nothing_to_do() -> None:
    schedule = simulate([], 4)
    assert (schedule.wall_s, schedule.busy_s, schedule.longest, schedule.utilisation) == (0.0, 0.0, None, 1.0)


def test_utilisation_is_the_share_of_busy_time() -> None:
    assert simulate(tasks_of([3, 1]), 2).utilisation == 4 / 6


def test_the_ladder_doubles_and_ends_at_what_was_asked() -> None:
    assert ladder(1) == [1]
    assert ladder(2) == [1, 2]
    assert ladder(8) == [1, 2, 4, 8]
    assert ladder(100) == [1, 2, 4, 8, 16, 32, 64, 100]
