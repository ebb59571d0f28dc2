"""For how many tokens memory is held, and what of it is filled."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from casestudies.lab.equations.inference_memory import paged_slots
from casestudies.lab.serving.engine import Job, Policy
from casestudies.lab.serving.memory import Reserve, WithinMemory
from casestudies.lab.serving.queues import Arrival, LastGivesWay
from casestudies.lab.studies.paged_kv_cache.claims import LONGEST, ORACLE, POWER


def in_pieces(variant: str, tokens: int, longest: int) -> WithinMemory:
    """Return the policy that holds a piece for each request, as long as the variant has it."""
    reserve: dict[str, Reserve] = {
        LONGEST: lambda job: longest,
        POWER: lambda job: len(job.request.prompt) + next_power(job.request.tokens),
        ORACLE: lambda job: len(job.request.prompt) + job.request.tokens,
    }
    return WithinMemory(Arrival(), tokens, longest, reserve[variant])


def in_blocks(block: int, tokens: int, longest: int) -> WithinMemory:
    """Return the policy that holds as many blocks for each request as its next pass needs.

    Who came last gives its blocks up where none is free.
    """

    def needed(job: Job) -> int:
        return int(paged_slots(tokens=len(job.request.prompt) + len(job.said), block=block))

    whole = tokens // block * block
    return WithinMemory(
        LastGivesWay(), whole, int(paged_slots(tokens=longest, block=block)), needed
    )


def next_power(tokens: int) -> int:
    """Return the least power of two that is no less."""
    return 1 << (tokens - 1).bit_length()


@dataclass
class Counted:
    """A policy that counts, after each pass, the places held for requests and those filled."""

    policy: Policy
    held: list[int] = field(default_factory=list)
    filled: list[int] = field(default_factory=list)
    most_empty: int = 0  # of one request

    def __call__(self, present: Sequence[Job], slots: int) -> Sequence[Job]:
        """Return those whom the next pass is for."""
        chosen = self.policy(present, slots)
        rooms = [job.room or 0 for job in chosen]
        filled = [len(job.request.prompt) + len(job.said) for job in chosen]
        self.held.append(sum(rooms))
        self.filled.append(sum(filled))
        empty = [room - tokens for room, tokens in zip(rooms, filled, strict=True)]
        self.most_empty = max(self.most_empty, *empty)
        return chosen

    @property
    def share(self) -> float:
        """Return how much of what is held is filled, in percent."""
        return 100 * sum(self.filled) / sum(self.held)
