"""How long a step takes where the link to the host decides: a replay, in times of one block's load.

All devices share one link, as behind one root complex. A device has room for the weights that it
reads and for those that come next. Activations and the ends of the model are left out.
"""

from collections.abc import Mapping

from casestudies.lab.replay.events import Event, replay
from casestudies.lab.studies.offloading.about import GATHERED, STAGES

COMPUTING = 0.1  # a block's forward pass of a micro-batch, in loads of its weights; backward thrice
FORWARD, BACKWARD = "forward", "backward"


def steps(ranks: int, blocks: int) -> Mapping[str, float]:
    """Return a step's time by way of sharing, on as many micro-batches as ranks."""
    return {GATHERED: gathered(ranks, blocks), STAGES: in_stages(ranks, blocks)}


def gathered(ranks: int, blocks: int) -> float:
    """Return a step's time where each block is gathered by all ranks at once, each computing."""
    order = [
        *((FORWARD, b) for b in range(blocks)),
        *((BACKWARD, b) for b in reversed(range(blocks))),
    ]
    link: list[Event] = []
    devices: list[Event] = []
    for n, (way, block) in enumerate(order):
        # The one before the last has been read by then, so that there is room.
        room = (order[n - 2],) if n > 1 else ()
        link.append(Event(("gather", way, block), ranks, room))
        if n and order[n - 1][0] == BACKWARD:
            link.append(_gradient(order[n - 1][1], ranks))
        devices.append(
            Event(
                (way, block), COMPUTING * (3 if way == BACKWARD else 1), (("gather", way, block),)
            )
        )
    link.append(_gradient(0, ranks))
    return replay([link, devices]).duration


def in_stages(ranks: int, blocks: int) -> float:
    """Return a step's time where each block comes to one rank, which reads all micro-batches."""
    link: list[Event] = []
    devices: list[list[Event]] = [[] for _ in range(ranks)]
    last = ranks - 1
    for block in range(blocks):
        before = block - 2 * ranks  # of the same rank, two blocks ago
        room = ((FORWARD, before, last),) if before >= 0 else ()
        link.append(Event(("load", FORWARD, block), 1, room))
        for micro in range(ranks):
            after: list[tuple[object, ...]] = [("load", FORWARD, block)]
            after += [(FORWARD, block - 1, micro)] if block else []
            devices[block % ranks].append(Event((FORWARD, block, micro), COMPUTING, tuple(after)))
    for block in reversed(range(blocks)):
        before = block + 2 * ranks
        room = ((BACKWARD, before, last),) if before < blocks else ((FORWARD, block, last),)
        link.append(Event(("load", BACKWARD, block), 1, room))
        if block + ranks < blocks:
            link.append(_gradient(block + ranks, 1, last))
        for micro in range(ranks):
            after = [("load", BACKWARD, block)]
            after += (
                [(BACKWARD, block + 1, micro)] if block + 1 < blocks else [(FORWARD, block, last)]
            )
            devices[block % ranks].append(
                Event((BACKWARD, block, micro), 3 * COMPUTING, tuple(after))
            )
    link += [_gradient(block, 1, last) for block in reversed(range(min(ranks, blocks)))]
    return replay([link, *devices]).duration


def _gradient(block: int, duration: float, *micro: int) -> Event:
    return Event(("gradient", block), duration, ((BACKWARD, block, *micro),))
