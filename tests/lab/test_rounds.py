"""Times, and shares of what a device reaches; of a GPU's events only the order and the unit."""

from functools import partial

import pytest
import torch

from casestudies.lab.kernels import floor
from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure import rounds


@pytest.mark.parametrize(("again", "each_round"), [(False, "ab"), (True, "aabb")])
def test_runs_take_turns_and_are_measured_only_after_a_first_time(again, each_round) -> None:
    done: list[str] = []
    runs = {name: partial(done.append, name) for name in "ab"}
    taken = rounds.alternately(runs, 3, again=again)
    assert "".join(done) == "ab" + 3 * each_round
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3}
    assert all(0 <= one < 60 for seconds in taken.values() for one in seconds)


def test_ratios_are_of_the_same_round_and_say_how_much_faster_another_is() -> None:
    taken = {"plain": [4.0, 3.0], "twice as fast": [2.0, 1.5], "slower": [8.0, 4.0]}
    found = rounds.ratios(taken, "plain")
    assert found == {"twice as fast": [2, 2], "slower": [0.5, 0.75]}


def test_so_many_take_turns_as_no_cache_holds_and_no_more_than_there_may_be() -> None:
    sizes = (rounds.BEYOND_CACHES, rounds.BEYOND_CACHES - 1, rounds.BEYOND_CACHES // 3, 1)
    assert [rounds.copies(size, 9) for size in sizes] == [1, 2, 4, 9]


def test_a_device_has_a_rate_of_products_as_it_has_one_of_copies(monkeypatch) -> None:
    assert rounds.bfloat16_operations_a_second("cpu", size=64, rounds=2) > 0
    assert rounds.copied_bytes_a_second("cpu", size=2**16, rounds=2) > 0
    # What the median round does: a number of each matrix's rows and columns, and each byte twice.
    taken = iter([1.0, 0.5, 9.0] * 2)
    monkeypatch.setattr(rounds, "seconds", lambda run, device: next(taken))
    assert rounds.bfloat16_operations_a_second("cpu", size=4, rounds=3) == 2 * 4**3
    assert rounds.copied_bytes_a_second("cpu", size=10, rounds=3) == 20


def test_a_share_is_the_least_time_by_a_measured_rate_of_the_time_taken(monkeypatch) -> None:
    monkeypatch.setattr(floor, "copied_bytes_a_second", lambda device: 50.0)
    monkeypatch.setattr(floor, "bfloat16_operations_a_second", lambda device: 200.0)
    least = Floor(10, 60) + Floor(15, 20)
    assert least.share_of_copying(2.0, "cpu") == 0.25
    assert least.share_of_multiplying(2.0, "cpu") == 0.2


@pytest.mark.parametrize("taken", [rounds.seconds, rounds.own_seconds])
def test_a_gpu_is_timed_by_events_around_the_run_and_waited_for(monkeypatch, taken) -> None:
    done: list[str] = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            done.append("event")

        def elapsed_time(self, other: "Event") -> float:
            done.append("read")
            return 2.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("idle"))
    assert taken(lambda: done.append("run"), "cuda") == 0.0025
    assert done == ["idle", "event", "run", "event", "idle", "read"]
