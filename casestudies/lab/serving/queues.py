"""In which order those who are there are computed for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from casestudies.lab.serving.engine import Job

PROMPT_SHARE = 1 / 8  # of the time of a token that is added, what one of a prompt takes


class Queue(Protocol):
    """Orders jobs, the first to be served first, and is told who was.

    One that `preempts` lets a job wait again that has begun; others go on with whom they began.
    """

    preempts: bool

    def ordered(self, present: Sequence[Job]) -> list[Job]: ...

    def ran(self, chosen: Sequence[Job]) -> None: ...


class Arrival:
    """First come, first served."""

    preempts = False

    def ordered(self, present: Sequence[Job]) -> list[Job]:
        """Return the jobs in the order in which they came."""
        return list(present)

    def ran(self, chosen: Sequence[Job]) -> None:
        """Change nothing."""


class LastGivesWay(Arrival):
    """First come, first served; who came last gives up room for those who came before."""

    preempts = True


class Shortest(Arrival):
    """Those who ask for the fewest tokens first, as if that were known."""

    def ordered(self, present: Sequence[Job]) -> list[Job]:
        """Return those who have begun, then the others, the shortest first."""
        return sorted(present, key=lambda job: (not job.begun, job.request.tokens))


@dataclass
class _Place:
    level: int
    since: int  # the turn in which it came to the level, or was last served to the end of a quantum
    last: int  # the turn in which it was last served
    served: float = 0.0  # at this level


class Feedback:
    """Skip-join multi-level feedback (FastServe, Wu et al., 2023).

    Who has had a level's quantum, in tokens, goes to the next, where it is twice as long; on each
    level who came first is first. A request joins at the first level whose quantum its prompt does
    not use up. Who was not served for `patience` turns goes to the first level, so none starves.
    """

    preempts = True

    def __init__(self, quantum: float, levels: int, patience: float) -> None:
        self._quanta = [quantum * 2**level for level in range(levels)]
        self._patience = patience
        self._turn = 0
        self._places: dict[Job, _Place] = {}

    def ordered(self, present: Sequence[Job]) -> list[Job]:
        """Return the jobs by level, and on each by when they came to it."""
        self._turn += 1
        for job in present:
            place = self._places.setdefault(job, _Place(self._joins(job), self._turn, self._turn))
            if self._turn - place.last > self._patience:
                self._places[job] = _Place(0, self._turn, self._turn)
        return sorted(present, key=lambda job: (self._places[job].level, self._places[job].since))

    def ran(self, chosen: Sequence[Job]) -> None:
        """Count what was served, and move who has had a quantum to the next level."""
        last = len(self._quanta) - 1
        for job in chosen:
            place = self._places[job]
            place.last = self._turn
            place.served += 1 if job.begun else 1 + _of_prompt(job)
            if place.served >= self._quanta[place.level]:
                self._places[job] = _Place(min(place.level + 1, last), self._turn, self._turn)

    def _joins(self, job: Job) -> int:
        enough = (level for level, q in enumerate(self._quanta) if _of_prompt(job) < q)
        return next(enough, len(self._quanta) - 1)


def _of_prompt(job: Job) -> float:
    return PROMPT_SHARE * len(job.request.prompt)
