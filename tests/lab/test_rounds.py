"""Times, and shares of what a device reaches; of a GPU's events only the order and the unit."""

import pytest
import torch

from casestudies.lab.kernels import floor
from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure import rounds


def test_a_device_has_a_rate_of_products_as_it_has_one_of_copies() -> None:
    assert rounds.bfloat16_operations_a_second("cpu", size=64, rounds=2) > 0
    assert rounds.copied_bytes_a_second("cpu", size=2**16, rounds=2) > 0


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
