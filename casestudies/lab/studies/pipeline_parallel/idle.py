"""Replays orders of passes, and reports how long workers wait and how much they hold by them."""

import statistics
from collections.abc import Callable, Mapping

from casestudies.lab.replay import schedules
from casestudies.lab.replay.schedules import Order, Slot, equal, replayed
from casestudies.lab.report import Report
from casestudies.lab.studies.pipeline_parallel import claims
from casestudies.lab.studies.pipeline_parallel.execution import INTERLEAVED, Observed

ORDERS: Mapping[str, Callable[[int, int], Order]] = {
    "gpipe": schedules.gpipe,
    "1f1b": schedules.one_forward_one_backward,
    "interleaved": lambda p, m: schedules.interleaved(p, INTERLEAVED, m),
}
STEPS_WITHOUT_FLUSH = 8


def stages_of(name: str) -> int:
    """Return how many stages of the model each rank has."""
    return INTERLEAVED if name == "interleaved" else 1


def report_carried_out(
    m: int, observed: Mapping[str, list[Observed]], report: Report
) -> dict[str, float]:
    """Report the idle shares of one step of m micro-batches; return those with equal slots.

    The orders are those that the ranks carried out.
    """
    with_equal_slots = {}
    for name in ORDERS:
        order = [[slot for slot, _ in rank.slots] for rank in observed[name]]
        seconds = {slot: taken for rank in observed[name] for slot, taken in rank.slots}
        p = len(order)
        counted = replayed(order, p * stages_of(name), equal).idle_share
        timed = replayed(order, p * stages_of(name), seconds.__getitem__).idle_share
        at = {"ranks": p, "micro-batches": m}
        report.measure("idle share", name, counted, **at, slots="equal slots")
        report.measure("idle time", name, timed, **at)
        for slots, share in (("equal slots", counted), ("measured slots", timed)):
            report.point("idle share by micro-batches", name, m, share, slots=slots)
        with_equal_slots[name] = counted
    return with_equal_slots


def report_more_workers(report: Report, carried_out: set[tuple[int, int]]) -> None:
    """Report what the claims on interleaving ask for, of the schedules' own orders."""
    for p in claims.INTERLEAVED_DEPTHS:
        for m in (p * k for k in claims.MULTIPLES):
            for name in ("1f1b", "interleaved"):
                order, own = ORDERS[name](p, m), stages_of(name)
                at = {"ranks": p, "micro-batches": m}
                most = max(map(schedules.held, order)) / own
                report.measure("micro-batches held", name, most, **at)
                if (p, m) not in carried_out:
                    share = replayed(order, p * own, equal).idle_share
                    report.measure("idle share", name, share, **at, slots="equal slots")


def report_depths(observed: list[Observed], report: Report) -> None:
    """Report what the claims on deeper pipelines ask for, with the durations of what was seen."""
    last = max(slot.stage for rank in observed for slot, _ in rank.slots)
    taken: dict[str, list[float]] = {"forward": [], "backward": []}
    for rank in observed:
        for slot, seconds in rank.slots:
            if 0 < slot.stage < last:
                taken[slot.kind].append(seconds)
    medians = {kind: statistics.median(seconds) for kind, seconds in taken.items()}
    report.measure("backward over forward", "interleaved", medians["backward"] / medians["forward"])

    def alike(slot: Slot) -> float:
        return medians[slot.kind]

    for p in claims.DEPTHS:
        plain, both_ways = ORDERS["1f1b"](p, p), schedules.bidirectional(p)
        for name, order in (("1f1b", plain), ("bidirectional", both_ways)):
            report.measure("idle slots", name, max(replayed(order, p, equal).idle), ranks=p)
        flushed = replayed(plain, p, alike).duration
        durations = {
            "gpipe": replayed(ORDERS["gpipe"](p, p), p, alike).duration,
            "bidirectional": replayed(both_ways, p, alike).duration,
            "no flush": step_without_flush(p, alike),
        }
        for name, duration in durations.items():
            report.measure("replayed speed-up", name, flushed / duration, ranks=p)


def step_without_flush(p: int, duration: Callable[[Slot], float]) -> float:
    """Return how much longer each further step of p micro-batches takes if none is waited for."""
    few, many = (
        replayed(ORDERS["1f1b"](p, p * steps), p, duration).duration
        for steps in (1, STEPS_WITHOUT_FLUSH)
    )
    return (many - few) / (STEPS_WITHOUT_FLUSH - 1)
