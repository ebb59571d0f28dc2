"""Queues and limited memory: who waits, for how long at most, and that nothing gets lost."""

import itertools
import statistics
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.serving.alone import answer
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.carrying import ModelPasses, PricedPasses
from casestudies.lab.serving.engine import Job, Served, serve
from casestudies.lab.serving.memory import WithinMemory
from casestudies.lab.serving.outcomes import completion, percentile
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.serving.queues import Arrival, Feedback, Queue, Shortest
from casestudies.lab.studies.request_scheduling.study import predictions
from tests.lab.test_serving import asked, on_paper
from tests.lab.tiny import tiny_model

LONGEST = 16  # tokens of prompt and answer together
QUEUES: dict[str, Callable[[], Queue]] = {
    "arrival": Arrival,
    "shortest": Shortest,
    "feedback": lambda: Feedback(quantum=2, levels=3, patience=20),
}
each_queue = pytest.mark.parametrize("queue", QUEUES.values(), ids=list(QUEUES))
ANSWERS, GAPS = st.lists(st.integers(1, 9), min_size=1, max_size=12), st.sampled_from([0, 0.5, 3])
SIZES = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=9)


def for_the_longest(job: Job) -> int:
    return LONGEST


def with_room(queue: Queue) -> WithinMemory:
    """Return the queue's policy where there is room for everyone."""
    return WithinMemory(queue, 1000 * LONGEST, 1000, for_the_longest)


def queued(sizes: Sequence[int], queue: Queue, gap: float = 0.0) -> Served:
    """Return how answers of these lengths are served on one slot by a queue, on paper."""
    return on_paper(sizes, 1, with_room(queue), gap)


@each_queue
@settings(max_examples=25)
@given(
    sizes=SIZES,
    slots=st.integers(1, 4),
    memory=st.integers(LONGEST, 3 * LONGEST),
    reserved=st.integers(1, LONGEST),
    gap=st.sampled_from([0.0, 1e-3]),
)
def test_tokens_are_those_of_each_alone_however_little_room_there_is(
    queue, sizes, slots, memory, reserved, gap
) -> None:
    policy = WithinMemory(queue(), memory, LONGEST, lambda job: reserved)
    held = []

    def watched(present: Sequence[Job], slots: int) -> Sequence[Job]:
        chosen = policy(present, slots)
        held.append(sum(job.room or 0 for job in present))
        assert all((job.room or 0) >= len(job.request.prompt) + len(job.said) for job in chosen)
        return chosen

    requests, carry = asked(sizes, gap), ModelPasses(tiny_model())
    served = serve(requests, slots, watched, carry)
    for job, request in zip(served.jobs, requests, strict=True):
        assert job.said == answer(tiny_model(), request)
    assert max(held) <= memory
    # Work is conserved: each token is read once, whoever had to wait in between.
    assert carry.tokens_read == sum(prompt + answer - 1 for prompt, answer in sizes)


@pytest.mark.parametrize("sizes", [(5, 1, 7, 3, 2, 9, 4), (2, 2, 8, 1, 1, 6, 3)])
def test_no_order_of_seven_has_a_shorter_mean_completion_than_shortest_first(sizes) -> None:
    least = min(
        statistics.mean(itertools.accumulate(order)) for order in itertools.permutations(sizes)
    )
    served = queued(sizes, Shortest())
    assert statistics.mean(map(completion, served.jobs)) == pytest.approx(least)
    came = queued(sizes, Arrival())
    assert statistics.mean(map(completion, came.jobs)) > least


@settings(max_examples=50)
@given(sizes=ANSWERS, gap=GAPS)
def test_on_one_slot_no_order_changes_when_all_is_done(sizes, gap) -> None:
    ends = {queued(sizes, make(), gap).seconds for make in QUEUES.values()}
    assert len(ends) == 1


@pytest.mark.parametrize(
    "make",
    [lambda: iteration_level, *(lambda q=q: with_room(q()) for q in QUEUES.values())],
    ids=["iteration-level", *QUEUES],
)
@settings(max_examples=50)
@given(sizes=ANSWERS, slots=st.integers(1, 4), gap=GAPS)
def test_no_slot_is_empty_while_someone_waits(make, sizes, slots, gap) -> None:
    served = on_paper(sizes, slots, make(), gap)
    now = 0.0
    for one in served.passes:
        here = [job for job in served.jobs if job.request.arrival <= now < job.times[-1]]
        if not here:  # the clock went on to the next arrival
            now = min(job.request.arrival for job in served.jobs if job.request.arrival > now)
            here = [job for job in served.jobs if job.request.arrival == now]
        assert one.work.jobs == min(slots, len(here))
        now += one.seconds


@pytest.mark.parametrize("patience", [10, 40])
def test_a_long_request_is_not_starved_by_a_stream_of_short_ones(patience: int) -> None:
    # A short request comes with each pass, and there is one slot: no time is left for others.
    short = 400
    sizes = [6] + [1] * short
    kept = queued(sizes, Feedback(2, 3, patience), gap=1.0).jobs[0]
    waits = [later - sooner for sooner, later in itertools.pairwise(kept.times)]
    # Once it is on the first level again, only those who came before are ahead.
    assert max(waits) <= patience + sum(sizes) - short
    assert kept.times[-1] < short / 2
    starved = queued(sizes, Feedback(2, 3, float("inf")), gap=1.0).jobs[0]
    assert starved.times[-1] > short


def test_feedback_serves_the_short_before_the_long_are_done_and_skips_levels_by_prompt() -> None:
    # The long one came first: two tokens are its quantum, then the short one is served.
    long, short = queued([9, 2], Feedback(2, 3, 100)).jobs
    assert short.times[-1] == 4
    assert long.times[-1] == 11
    # A prompt that takes a whole quantum, or every one, joins below one that does not, though it
    # came first.
    for tokens in (40, 400):
        requests = [Request(torch.zeros(tokens, dtype=torch.long), 1), *asked([(1, 1)])]
        policy = WithinMemory(Feedback(4, 3, 100), 1000, 100, for_the_longest)
        large, small = serve(requests, 1, policy, PricedPasses(1)).jobs
        assert small.times[-1] < large.times[-1]


def test_more_room_than_was_predicted_is_had_by_waiting_for_it() -> None:
    # Room for two passes of both. Then the first needs more and lets the other take its room.
    policy = WithinMemory(Arrival(), 8, 8, lambda job: 4)
    served = serve(asked([(3, 5), (3, 5)]), 2, policy, PricedPasses(1))
    first, second = served.jobs
    assert second.times == [1, 2, 3, 4, 5]
    assert first.times == [1, 2, 6, 7, 8]


def test_predictions_are_ends_of_tenths_and_right_as_often_as_asked_for() -> None:
    lengths = [length for length in range(1, 101) for _ in range(40)]
    always = predictions(lengths, 100, 1.0, torch.Generator().manual_seed(0))
    assert all(0 <= found - length < 10 for length, found in zip(lengths, always, strict=True))
    often = predictions(lengths, 100, 0.7, torch.Generator().manual_seed(0))
    right = statistics.mean(map(int.__eq__, often, always))
    assert right == pytest.approx(0.7 + 0.3 / 10, abs=0.03)


@given(values=st.lists(st.integers(0, 9), min_size=1, max_size=30), percent=st.integers(1, 100))
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(values, percent) -> None:
    found = percentile(values, percent)
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    assert 100 * sum(value < found for value in values) < percent * len(values)
