"""The serving engine: the tokens of each request, who waits for whom, and the replay on paper."""

import heapq
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.serving.alone import answer, same_tokens
from casestudies.lab.serving.arrivals import TAIL, Request, arrivals, at_rate, lengths
from casestudies.lab.serving.carrying import Cost, ModelPasses, PricedPasses
from casestudies.lab.serving.engine import Job, Pass, Served, Work, serve
from casestudies.lab.serving.outcomes import (
    Limits,
    completion,
    first_token,
    longest_wait,
    normalized_latency,
    per_token,
)
from casestudies.lab.serving.policies import (
    Chunked,
    iteration_level,
    prompts_apart,
    request_level,
    request_level_padded,
)
from casestudies.lab.serving.selective import Piece, read
from tests.lab.tiny import CONFIG, tiny_model, tiny_windows

POLICIES = (
    iteration_level,
    request_level,
    request_level_padded,
    prompts_apart,
    Chunked(1),
    Chunked(4),
)
each_policy = pytest.mark.parametrize("policy", POLICIES)
# Lengths of a prompt and of its answer.
SIZES = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=9)


def asked(sizes: Sequence[tuple[int, int]], gap: float = 0.0) -> list[Request]:
    """Return requests with prompts and answers of these lengths, one each `gap` seconds."""
    texts = tiny_windows(len(sizes), 8)
    return [
        Request(text[:prompt], answer, gap * number)
        for number, (text, (prompt, answer)) in enumerate(zip(texts, sizes, strict=True))
    ]


def on_paper(sizes: Sequence[int], slots: int, policy=iteration_level, gap: float = 0.0) -> Served:
    """Return how answers of these lengths are served by passes of a second each."""
    return serve(asked([(1, size) for size in sizes], gap), slots, policy, PricedPasses(1))


@settings(max_examples=25)
@given(pieces=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5))
def test_pieces_of_several_texts_are_read_as_each_by_itself(pieces: list[tuple[int, int]]) -> None:
    model, texts = tiny_model(), tiny_windows(len(pieces), 18)
    together, expected = [], []
    for text, (before, new) in zip(texts, pieces, strict=True):
        cache = KeyValueCache(CONFIG, 1, before + new)
        if before:
            model(text[None, :before], cache)
        together.append(Piece(text[before : before + new], cache))
        expected.append(model(text[None, : before + new])[0, -1])
    torch.testing.assert_close(read(model, together), torch.stack(expected))
    assert [piece.cache.length for piece in together] == [sum(sizes) for sizes in pieces]


@each_policy
@settings(max_examples=15)
@given(sizes=SIZES, slots=st.integers(1, 4), gap=st.sampled_from([0.0, 1e-4, 1e-2]))
def test_each_request_gets_the_tokens_that_it_gets_alone(policy, sizes, slots, gap) -> None:
    requests = asked(sizes, gap)
    served = serve(requests, slots, policy, ModelPasses(tiny_model()))
    for job, request in zip(served.jobs, requests, strict=True):
        assert job.said[: request.tokens] == answer(tiny_model(), request)
        assert first_token(job) > 0


def test_a_verdict_says_that_all_tokens_are_the_same_or_how_many() -> None:
    assert same_tokens(1.0) == "The same tokens"
    assert same_tokens(0.987) == "98.7 % of the tokens are the same"


@settings(max_examples=50)
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=12), slots=st.integers(1, 5))
def test_passes_are_as_many_as_can_be_counted_by_hand(sizes: list[int], slots: int) -> None:
    # Batches that stay together take as long as their longest.
    longest = sum(max(sizes[first : first + slots]) for first in range(0, len(sizes), slots))
    assert len(on_paper(sizes, slots, request_level).passes) == longest
    assert len(on_paper(sizes, slots, request_level_padded).passes) == longest
    # Otherwise each request goes to the slot that is free first.
    free = [0] * slots
    for size in sizes:
        heapq.heapreplace(free, free[0] + size)
    found = on_paper(sizes, slots)
    assert len(found.passes) == found.seconds == max(free)
    assert found.slot_use(slots) == sum(sizes) / (slots * max(free))


def test_who_has_the_last_token_leaves_a_padded_batch_only_with_the_others() -> None:
    short, long = on_paper([2, 5], 2, request_level).jobs
    assert (completion(short), completion(long)) == (2, 5)
    assert first_token(short) == first_token(long) == per_token(short) == 1
    short, long = on_paper([2, 5], 2, request_level_padded).jobs
    assert completion(short) == completion(long) == 5
    # All of its tokens are given back together.
    assert first_token(short) == first_token(long) == 5
    assert per_token(short) == longest_wait(long) == 0
    assert on_paper([2, 5], 2, request_level_padded).tokens == 7


@settings(max_examples=50)
@given(sizes=SIZES, slots=st.integers(1, 4), chunk=st.integers(1, 8))
def test_with_chunks_no_answer_waits_longer_than_for_a_chunk_and_the_answers(
    sizes, slots, chunk
) -> None:
    # A pass takes a second for each token of a prompt.
    costs = PricedPasses(0, 0, 1)
    requests = asked(sizes)
    served = serve(requests, slots, Chunked(chunk), costs)
    assert max(one.work.prompt for one in served.passes) <= chunk
    assert sum(one.work.prompt for one in served.passes) == sum(prompt for prompt, _ in sizes)
    # Once it has begun, an answer gets a token in every pass.
    assert max(map(longest_wait, served.jobs)) <= chunk


def test_prompts_apart_let_answers_wait_and_whole_prompts_are_waited_for() -> None:
    # Two slots; when the first request has left, a prompt of six tokens comes in.
    requests = asked([(1, 2), (1, 9), (6, 1)])
    costs = PricedPasses(1, 0, 1)  # a pass takes a second, and one for each token of a prompt
    waits = {
        policy: longest_wait(serve(requests, 2, policy, costs).jobs[1])
        for policy in (prompts_apart, iteration_level, Chunked(2))
    }
    assert list(waits.values()) == [8, 7, 3]


def test_the_replay_finds_the_cost_of_passes_and_then_their_time() -> None:
    requests = asked([(prompt, answer) for prompt in (1, 3, 6) for answer in (2, 5, 9)], gap=0.01)

    def carry(jobs: Sequence[Job]) -> float:
        work = Work.of(jobs)
        for job in jobs:
            if job.answers:
                job.said.append(0)
        return 3e-3 + 2e-3 * work.jobs + 1e-3 * work.prompt + 1e-4 * work.context

    carried_out = serve(requests, 3, iteration_level, carry)
    costs = PricedPasses.measured(carried_out.passes)
    for policy in POLICIES:
        truly, replayed = serve(requests, 2, policy, carry), serve(requests, 2, policy, costs)
        assert replayed.seconds == pytest.approx(truly.seconds)
        assert [j.times for j in replayed.jobs] == [pytest.approx(j.times) for j in truly.jobs]


def test_no_work_costs_less_than_nothing() -> None:
    works = [
        Work(jobs, prompt, 9 * jobs + prompt % 5) for jobs in (1, 2, 7) for prompt in (0, 3, 64)
    ]
    # More jobs take less time here, as they may on a machine that does other things too.
    odd = Cost.measured([Pass(work, 1e-3 * (1 + work.prompt / work.jobs)) for work in works])
    assert min(odd) >= 0
    assert odd.seconds(works[0]) > 0


def test_what_is_promised_is_counted() -> None:
    # With one slot the second waits for the first: its first token comes after 4 seconds.
    served = on_paper([3, 2], 1)
    first, second = served.jobs
    assert (first_token(first), first_token(second)) == (1, 4)
    assert (per_token(first), per_token(second)) == (1, 1)
    assert normalized_latency(second) == 5 / 2
    assert Limits(first_token=4, per_token=1).goodput(served) == 2 / 5
    assert Limits(first_token=3, per_token=1).goodput(served) == 1 / 5
    assert Limits(first_token=4, per_token=0.5).goodput(served) == 0


def test_time_counts_from_when_the_first_request_comes() -> None:
    late = [replace(request, arrival=7.0) for request in asked([(1, 3), (1, 2)])]
    served = serve(late, 1, iteration_level, PricedPasses(1))
    assert (served.seconds, served.tokens_per_second) == (5, 1)
    assert [completion(job) for job in served.jobs] == [3, 5]


@pytest.mark.parametrize("pattern", ["poisson", "bursts"])
def test_arrivals_come_at_the_rate_asked_for(pattern) -> None:
    moments = arrivals(4000, pattern, torch.Generator().manual_seed(0))
    assert moments == sorted(moments)
    assert moments[-1] == pytest.approx(4000, rel=0.1)
    together = 8 if pattern == "bursts" else 1
    assert len(set(moments)) == 4000 / together
    assert len(arrivals(9, pattern, torch.Generator())) == 9  # of two bursts, the last one is cut
    (request,) = at_rate(asked([(1, 1)]), [6.0], 3.0)
    assert request.arrival == 2


@pytest.mark.parametrize("kind", ["uniform", "heavy tail"])
def test_lengths_stay_in_their_bounds_and_a_heavy_tail_is_heavy(kind) -> None:
    found = sorted(lengths(4000, 2, 200, kind, torch.Generator().manual_seed(0)))
    assert found[0] == 2
    assert 180 < found[-1] <= 200
    # The tenth of the requests that ask for most, asks for how much of all?
    share = sum(found[-400:]) / sum(found)
    assert (share > 0.5) == (kind == "heavy tail")
    if kind == "uniform":
        assert found[-1] == 200
        assert sum(found) / 4000 == pytest.approx((2 + 200) / 2, rel=0.03)
    else:  # half of a Pareto distribution's numbers are below 2^(1/exponent) times its least
        assert found[2000] == int(2 * 2 ** (1 / TAIL))
        beyond = [sum(length >= limit for length in found) / 4000 for limit in (20, 201)]
        cut = (2 / 201) ** TAIL
        assert beyond == pytest.approx([((2 / 20) ** TAIL - cut) / (1 - cut), 0], rel=0.15)
