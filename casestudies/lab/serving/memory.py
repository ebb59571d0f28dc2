"""A policy where the memory for keys and values is limited: who gets room, and who gives it up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from casestudies.lab.serving.engine import Job
from casestudies.lab.serving.queues import Queue

# Returns for how many tokens, of prompt and answer together, room is reserved at first.
Reserve = Callable[[Job], int]


@dataclass(frozen=True)
class WithinMemory:
    """Serves in the order of a queue as far as slots and memory go.

    `tokens` is the memory, and `longest` the most that one request may need of it. Who needs more
    than was reserved gets twice as much, or is put aside until there is room (S3, Jin et al.,
    2023). A queue that preempts takes the room from those who are last.
    """

    queue: Queue
    tokens: int
    longest: int
    reserve: Reserve

    def __call__(self, present: Sequence[Job], slots: int) -> Sequence[Job]:
        """Return those whom the next pass is for; their room is reserved then."""
        ordered = self.queue.ordered(present)
        chosen = list[Job]()
        full = False
        for place, job in enumerate(ordered):
            # Once someone has to wait for room, only those who have some go on: no overtaking.
            if len(chosen) == slots or (full and not job.room):
                continue
            if self._has_room(job, ordered, place):
                chosen.append(job)
            else:
                full = True
        self.queue.ran(chosen)
        return chosen

    def _has_room(self, job: Job, ordered: Sequence[Job], place: int) -> bool:
        needed = len(job.request.prompt) + len(job.said)
        held = job.room or 0
        if held >= needed:
            return True
        wanted = self._wanted(job, needed)
        free = self.tokens + held - sum(other.room or 0 for other in ordered)
        if self.queue.preempts:
            for other in reversed(ordered[place + 1 :]):
                if free < wanted and other.room:
                    free += other.room
                    other.room = 0
        job.room = wanted if wanted <= free else 0
        return bool(job.room)

    def _wanted(self, job: Job, needed: int) -> int:
        wanted = self.reserve(job)
        while wanted < needed:
            wanted *= 2
        return min(wanted, self.longest)
