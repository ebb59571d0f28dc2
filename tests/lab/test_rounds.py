"""How times are taken where no GPU tells them: of its events only the order and the unit."""

import pytest
import torch

from casestudies.lab.measure import rounds


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
