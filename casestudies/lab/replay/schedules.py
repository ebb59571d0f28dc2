"""In which order each worker of a pipeline computes, and what a replay of that order counts.

The letters are the publications': p workers (D in Chimera), m micro-batches of a step (N in
Chimera), v stages for each worker. A worker is a rank; stage s of the model lies on worker s mod p.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

from casestudies.lab.replay.events import Event, Replay, replay

Kind = Literal["forward", "backward"]


class Slot(NamedTuple):
    """One pass of one micro-batch through one stage."""

    kind: Kind
    stage: int
    micro_batch: int


Order = list[list[Slot]]  # the slots of each worker, in turn


def gpipe(p: int, m: int) -> Order:
    """Return GPipe's order: all forwards, then all backwards (Huang et al., figure 2c)."""
    return [
        [*_passes("forward", rank, range(m)), *_passes("backward", rank, range(m))]
        for rank in range(p)
    ]


def one_forward_one_backward(p: int, m: int) -> Order:
    """Return the order of DAPPLE and PipeDream-Flush: a backward as early as there is one.

    Worker r runs p - r - 1 forwards ahead. If m are the micro-batches of several steps, nothing
    empties the pipeline between them: that is PipeDream-2BW's order.
    """
    return [
        _in_turn(
            _passes("forward", rank, range(m)),
            _passes("backward", rank, range(m)),
            ahead=min(m, p - rank - 1),
        )
        for rank in range(p)
    ]


def interleaved(p: int, v: int, m: int) -> Order:
    """Return Megatron-LM's interleaved 1F1B (Narayanan et al., figure 4); p must divide m.

    A worker takes p micro-batches through each of its v stages before it takes the next p.
    """
    if m % p:
        raise ValueError(f"{m} micro-batches are no multiple of {p} workers")

    def nth(kind: Kind, n: int, rank: int) -> Slot:
        turn, place = divmod(n, p * v)
        own = place // p if kind == "forward" else v - 1 - place // p
        return Slot(kind, own * p + rank, turn * p + place % p)

    return [
        _in_turn(
            [nth("forward", n, rank) for n in range(v * m)],
            [nth("backward", n, rank) for n in range(v * m)],
            ahead=min(v * m, 2 * (p - rank - 1) + (v - 1) * p),
        )
        for rank in range(p)
    ]


def bidirectional(d: int) -> Order:
    """Return Chimera's order for D stages and N = D micro-batches (Li and Hoefler, figure 3).

    Half of the micro-batches go down, through stages 0 to D - 1 on workers 0 to D - 1. The other
    half go up: their stages lie the other way round, so that each worker holds two stages. Each
    direction lets a micro-batch in at every second slot, and the other takes the slots between.
    """
    if d % 2:
        raise ValueError(f"{d} stages cannot be shared evenly by two directions")
    timed: list[list[tuple[int, Slot]]] = [[] for _ in range(d)]
    for n in range(d):
        down, turn = n < d // 2, n % (d // 2)
        for stage in range(d):
            worker = stage if down else d - 1 - stage
            timed[worker].append((stage + 2 * turn, Slot("forward", stage, n)))
            timed[worker].append((2 * d - 1 - stage + 2 * turn, Slot("backward", stage, n)))
    return [[slot for _, slot in sorted(slots)] for slots in timed]


def replayed(order: Order, stages: int, duration: Callable[[Slot], float]) -> Replay:
    """Return the replay of an order of so many stages. Passing tensors on takes no time."""
    workers = [[Event(s, duration(s), _before(s, stages)) for s in slots] for slots in order]
    return replay(workers)


def held(slots: list[Slot]) -> int:
    """Return the most passes at one time that a worker went forward and not yet backward."""
    now = most = 0
    for slot in slots:
        now += 1 if slot.kind == "forward" else -1
        most = max(most, now)
    return most


def equal(slot: Slot) -> float:
    """Return the duration of a slot if all take equally long."""
    return 1


def _before(slot: Slot, stages: int) -> tuple[Slot, ...]:
    """Return what must have ended before this slot on another worker, or at the last stage."""
    if slot.kind == "forward":
        return (slot._replace(stage=slot.stage - 1),) if slot.stage else ()
    if slot.stage == stages - 1:
        return (slot._replace(kind="forward"),)
    return (slot._replace(stage=slot.stage + 1),)


def _in_turn(forwards: list[Slot], backwards: list[Slot], ahead: int) -> list[Slot]:
    """Return so many forwards, then a forward and a backward in turn, then the other backwards."""
    order = forwards[:ahead]
    for forward, backward in zip(forwards[ahead:], backwards, strict=False):
        order += [forward, backward]
    return order + backwards[len(forwards) - ahead :]


def _passes(kind: Kind, stage: int, micro_batches: range) -> list[Slot]:
    return [Slot(kind, stage, n) for n in micro_batches]
