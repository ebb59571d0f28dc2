"""What those who wait notice, and how many were served as they were promised."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from casestudies.lab.serving.engine import Job, Served


def first_token(job: Job) -> float:
    """Return the seconds from the request's arrival to its first token."""
    return job.returned[0] - job.request.arrival


def per_token(job: Job) -> float:
    """Return the mean seconds from one token to the next, 0 if there is one only."""
    return (job.returned[-1] - job.returned[0]) / max(1, job.request.tokens - 1)


def longest_wait(job: Job) -> float:
    """Return the most seconds from one of its tokens to the next, 0 if there is one only."""
    return max((later - sooner for sooner, later in pairwise(job.returned)), default=0.0)


def completion(job: Job) -> float:
    """Return the seconds from the request's arrival until it left."""
    return job.times[-1] - job.request.arrival


def mean_completion(served: Served) -> float:
    """Return the mean completion time of all requests, in seconds."""
    return statistics.mean(map(completion, served.jobs))


def normalized_latency(job: Job) -> float:
    """Return the completion time divided by the tokens asked for (Yu et al., 2022)."""
    return completion(job) / job.request.tokens


@dataclass(frozen=True)
class Limits:
    """What a request is promised, in seconds: its first token, and each later one on average."""

    first_token: float
    per_token: float

    def kept(self, job: Job) -> bool:
        """Return whether the request was served within both."""
        return first_token(job) <= self.first_token and per_token(job) <= self.per_token

    def goodput(self, served: Served) -> float:
        """Return the requests a second that were served within both."""
        return sum(map(self.kept, served.jobs)) / served.seconds


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the least of the values that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]
