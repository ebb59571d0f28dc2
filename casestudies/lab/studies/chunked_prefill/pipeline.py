"""Passes in a pipeline, on paper: a batch for each stage goes round, one stage after another.

Every stage holds as many layers, so it takes as large a part of a pass's time. A batch's next pass
begins when its last has left the last stage, since its tokens are needed then; meanwhile a stage
works for the other batches, in turn. Where passes take unequal times, stages wait: the bubbles that
SARATHI is to shrink (Agrawal et al., 2023).
"""

from collections.abc import Sequence

from casestudies.lab.replay.events import Event, Replay, replay


def pipelined(batches: Sequence[Sequence[float]]) -> Replay:
    """Return what becomes of the batches' passes, given in seconds, with a stage for each batch."""
    stages = len(batches)
    in_turn = [
        (number, turn, batch[turn] / stages)
        for turn in range(max(map(len, batches)))
        for number, batch in enumerate(batches)
        if turn < len(batch)
    ]
    return replay(
        [
            [
                Event((number, turn, stage), seconds, _after(number, turn, stage, stages))
                for number, turn, seconds in in_turn
            ]
            for stage in range(stages)
        ]
    )


def _after(number: int, turn: int, stage: int, stages: int) -> tuple[tuple[int, int, int], ...]:
    if stage > 0:
        return ((number, turn, stage - 1),)
    return ((number, turn - 1, stages - 1),) if turn else ()
