"""Who is computed for next. Jobs stand in the order of their arrival; at most `slots` take part."""

from collections.abc import Sequence
from dataclasses import dataclass

from casestudies.lab.serving.engine import Job


def iteration_level(present: Sequence[Job], slots: int) -> Sequence[Job]:
    """Return those who came first: a slot is given to the next as soon as its owner has left.

    Orca's algorithm 1 (Yu et al., 2022): the batch is chosen anew for each iteration.
    """
    return present[:slots]


def request_level(present: Sequence[Job], slots: int) -> Sequence[Job]:
    """Return the batch that is under way, or else those who came first.

    Nobody joins before the whole batch has left. Who is done leaves, and costs nothing more.
    """
    return [job for job in present if job.begun] or present[:slots]


def request_level_padded(present: Sequence[Job], slots: int) -> Sequence[Job]:
    """Return the same, where everyone is computed for until the longest answer has ended.

    Nobody gets a token before that: the baseline that Orca was held against (Yu et al., 2022).
    """
    under_way = [job for job in present if job.begun]
    if not under_way:
        under_way = list(present[:slots])
        longest = max(job.request.tokens for job in under_way)
        for job in under_way:
            job.passes, job.streamed = longest, False
    return under_way


def prompts_apart(present: Sequence[Job], slots: int) -> Sequence[Job]:
    """Return those who came first and whose prompts are not read yet, or else all who came first.

    A pass reads prompts or adds tokens to answers that have begun, never both.
    """
    first = present[:slots]
    return [job for job in first if not job.begun] or first


@dataclass(frozen=True)
class Chunked:
    """Who came first, with at most so many tokens of prompts in a pass.

    All answers that have begun go on in each pass, and what is read of prompts is of as few
    requests as it can be: SARATHI's decode-maximal batches (Agrawal et al., 2023).
    """

    tokens: int

    def __call__(self, present: Sequence[Job], slots: int) -> Sequence[Job]:
        """Return those whom the next pass is for."""
        left = self.tokens
        chosen = list[Job]()
        for job in present[:slots]:
            job.chunk = left
            left -= job.reads
            if job.reads or job.said:
                chosen.append(job)
        return chosen
