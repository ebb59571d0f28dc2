"""Memory planning: nothing overlaps, no plan beats the bound, and real models compute in it."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models import attention, shapes
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.studies.memory_planning import plans, stream, tape
from casestudies.lab.studies.memory_planning.about import BY_SIZE, CACHING, CHUNKS, FREED, LONGEST
from casestudies.lab.studies.memory_planning.caching import CachingAllocator
from casestudies.lab.studies.memory_planning.execution import Allocating, Planned
from casestudies.lab.studies.memory_planning.plans import Life, Plan, Spot
from casestudies.lab.studies.memory_planning.study import training_step
from casestudies.lab.studies.memory_planning.tape import Tape
from tests.lab.tiny import tiny_model, tiny_windows

MIB = 2**20
LIFE = st.builds(
    lambda size, first, length: Life(64 * size, first, first + length),
    st.integers(1, 40),
    st.integers(0, 12),
    st.integers(0, 6),
)
Planner = Callable[[Sequence[Life]], Plan]
ONE_BUFFER: dict[str, Planner] = {
    "apart": plans.apart,
    "by time": plans.by_time,
    "by size": plans.by_size,
}


def shared(lives: Sequence[Life], plan: Plan) -> int:
    """Return how many pairs share bytes at a time when both are needed, by every byte of 64."""
    taken = [
        {
            (spot.chunk, spot.offset // 64 + part, call)
            for part in range(life.size // 64)
            for call in range(life.first, life.last + 1)
        }
        for life, spot in zip(lives, plan.spots, strict=True)
    ]
    return sum(bool(one & other) for one, other in itertools.combinations(taken, 2))


@pytest.mark.parametrize("planner", ONE_BUFFER.values(), ids=list(ONE_BUFFER))
@settings(max_examples=40)
@given(lives=st.lists(LIFE, min_size=1, max_size=12))
def test_no_two_tensors_share_bytes_and_the_bound_holds(
    planner: Planner, lives: list[Life]
) -> None:
    plan = planner(lives)
    assert shared(lives, plan) == plans.overlaps(lives, plan) == 0
    alive = (sum(x.size for x in lives if x.first <= call <= x.last) for call in range(20))
    assert plans.most_alive(lives) == max(alive)
    assert plans.most_alive(lives) <= plan.bytes <= sum(life.size for life in lives)


@settings(max_examples=40)
@given(lives=st.lists(LIFE, min_size=1, max_size=10), spots=st.data())
def test_what_overlaps_is_found(lives: list[Life], spots: st.DataObject) -> None:
    offsets = [64 * spots.draw(st.integers(0, 60)) for _ in lives]
    plan = Plan(tuple(Spot(0, offset) for offset in offsets), (64 * 100,))
    assert plans.overlaps(lives, plan) == shared(lives, plan)


@settings(max_examples=40)
@given(requests=st.lists(st.lists(LIFE, min_size=1, max_size=8), min_size=1, max_size=4))
def test_chunks_serve_request_after_request(requests: list[list[Life]]) -> None:
    plan = Plan((), ())
    for lives in requests:
        scaled = [Life(life.size * 1000, life.first, life.last) for life in lives]
        before, plan = plan, plans.in_chunks(scaled, plan.chunks)
        assert plans.overlaps(scaled, plan) == 0
        assert plan.bytes >= plans.most_alive(scaled)
        assert {spot.chunk for spot in plan.spots} == set(range(len(plan.chunks)))
        kept = len(plan.chunks) - plan.new
        assert set(plan.chunks[:kept]) <= set(before.chunks)


def test_a_chunk_is_two_mib_or_a_fifth_more_than_the_tensor() -> None:
    small, large = Life(MIB, 0, 1), Life(5 * MIB, 0, 1)
    plan = plans.in_chunks([small, large])
    assert plan.chunks == (6 * MIB,)  # the small one lies behind the large one
    plan = plans.in_chunks([small, Life(MIB, 1, 2), Life(64, 1, 1)])
    assert plan.chunks == (2 * MIB, 2 * MIB)
    again = plans.in_chunks([small], (6 * MIB, 2 * MIB))
    assert (again.chunks, again.new) == ((2 * MIB,), 0)  # the larger is given back


Computation = Callable[[], Sequence[Tensor]]


def with_attention(model: LanguageModel, by: Attention) -> LanguageModel:
    for block in cast(Iterable[Block], model.blocks):
        block.attention = by
    return model


def forward(model: LanguageModel, tokens: Tensor) -> Computation:
    @torch.no_grad()
    def run() -> list[Tensor]:
        return [model.logits(model.hidden(tokens)[:, -1:])]

    return run


def recorded_at(model: LanguageModel, *found: int) -> dict[int, Tape]:
    tokens = {length: torch.zeros(1, length, dtype=torch.long) for length in found}
    return {length: tape.record(forward(model, read)) for length, read in tokens.items()}


WORKS = {
    "definition": lambda: forward(with_attention(tiny_model(), attention.naive), tiny_windows()),
    "fused": lambda: forward(with_attention(tiny_model(), attention.stock), tiny_windows()),
    "training, definition": lambda: training_step(
        with_attention(tiny_model().requires_grad_(), attention.naive), tiny_windows()
    ),
    "training, fused": lambda: training_step(
        with_attention(tiny_model().requires_grad_(), attention.stock), tiny_windows()
    ),
}


@pytest.mark.parametrize("work", WORKS.values(), ids=list(WORKS))
def test_a_model_computes_in_one_buffer_what_it_computes_anywhere(
    work: Callable[[], Computation],
) -> None:
    computation = work()
    recorded = tape.record(computation)
    expected = [result.clone() for result in computation()]
    assert all(map(torch.equal, Allocating(recorded).run(), expected))
    for planner in (plans.by_size, plans.by_time, plans.in_chunks):
        plan = planner(recorded.lives)
        memory = [torch.empty(size, dtype=torch.uint8) for size in plan.chunks]
        placed = Planned(recorded, plan, memory)
        for _ in range(2):
            placed.forget()
            assert all(map(torch.equal, placed.run(), expected))
        inside = {chunk.untyped_storage().data_ptr() for chunk in memory}
        assert {r.untyped_storage().data_ptr() for r in placed.results} <= inside
        assert peak_bytes(placed.run) <= placed.copied + 1024


def test_a_plan_that_overlaps_is_seen_in_the_numbers() -> None:
    computation = WORKS["definition"]()
    recorded = tape.record(computation)
    expected = [result.clone() for result in computation()]
    lives, plan = recorded.lives, plans.by_size(recorded.lives)
    angles = max(range(len(lives)), key=lambda i: lives[i].last - lives[i].first)
    # PyTorch itself refuses a call that writes over what it reads, so no call may use both.
    users = [{view.piece for view in tape.views_in(call)} for call in recorded.calls]
    used_with = set().union(*(pieces for pieces in users if angles in pieces))
    other = next(i for i in plans.together(lives)[angles] if i not in used_with)
    spots = list(plan.spots)
    spots[angles] = spots[other]
    wrong = Plan(tuple(spots), (2 * plan.bytes,))
    assert plans.overlaps(lives, wrong) > 0
    found = Planned(recorded, wrong, [torch.zeros(2 * plan.bytes, dtype=torch.uint8)]).run()
    assert not found[0].equal(expected[0])


@pytest.mark.parametrize("by", [attention.naive, attention.stock])
def test_three_lengths_give_the_sizes_at_any_other(by: Attention) -> None:
    model = with_attention(tiny_model(), by)
    tapes = recorded_at(model, 8, 16, 24)
    for length, other in recorded_at(model, 2, 7, 24, 61).items():
        assert tape.sizes_at(tapes, length) == other.lives
    with pytest.raises(ValueError, match="depend on the length"):
        tape.sizes_at({**tapes, 24: tape.record(WORKS["training, fused"]())}, 32)


def test_by_size_misses_the_bound_where_scores_are_as_large_as_the_rest() -> None:
    model = with_attention(shapes.of_shape("smollm2-135m", layers=2), attention.naive)
    tapes = recorded_at(model, 4, 8, 12)
    over = {}
    for length in (128, 256):
        lives = tape.sizes_at(tapes, length)
        over[length] = plans.by_size(lives).bytes / plans.most_alive(lives)
    assert over[128] == 1
    assert over[256] == pytest.approx(1.087, abs=0.001)


def test_one_plan_for_the_longest_serves_every_request_and_the_cache_only_climbs() -> None:
    tapes = recorded_at(with_attention(tiny_model(), attention.naive), 8, 16, 24)
    found = [9, 200, 31, 64, 200]
    lives = [tape.sizes_at(tapes, length) for length in found]
    served = stream.serve(lives, lives[1])
    assert set(served.overlaps.values()) == {0}
    ways = served.ways
    assert ways[LONGEST].asked == [1, 0, 0, 0, 0]
    assert ways[FREED].held == [plans.most_alive(request) for request in lives]
    assert ways[CACHING].held == sorted(ways[CACHING].held)
    for name in (CACHING, BY_SIZE, LONGEST, CHUNKS):
        pairs = zip(ways[name].held, ways[FREED].held, strict=True)
        assert all(held >= least for held, least in pairs), name
    assert ways[CACHING].asked[-1] == ways[CHUNKS].asked[-1] == 0


def test_segments_are_those_of_the_caching_allocator() -> None:
    cache = CachingAllocator()
    one = cache.take(MIB)  # a small segment, of which half is left
    two = cache.take(MIB - 511)
    assert bytes_of(cache) == [2 * MIB]
    middle = cache.take(MIB + 1)
    rest = cache.take(18 * MIB)  # of 20 MiB; what is left, less than one, is not split off
    assert bytes_of(cache) == [2 * MIB, 20 * MIB]
    assert rest.size == 19 * MIB - 512
    cache.take(10 * MIB)
    cache.take(10 * MIB + 1)
    assert bytes_of(cache)[2:] == [10 * MIB, 12 * MIB]
    for block in (one, two, middle, rest):
        cache.give_back(block)
    whole = cache.take(20 * MIB)  # what was split has become one again
    assert (whole.size, whole.segment.blocks, len(cache.segments)) == (20 * MIB, [whole], 4)


def test_the_smallest_free_block_is_taken() -> None:
    cache = CachingAllocator()
    large, small = cache.take(40 * MIB), cache.take(12 * MIB)
    cache.give_back(large)
    cache.give_back(small)
    assert cache.take(11 * MIB).segment is small.segment
    assert cache.take(11 * MIB).segment is large.segment


@settings(max_examples=30)
@given(
    requests=st.lists(st.lists(LIFE, min_size=1, max_size=12), min_size=1, max_size=3),
    scale=st.sampled_from([1, 300, 5000]),
)
def test_what_is_freed_becomes_whole_segments_again(requests: list[list[Life]], scale: int) -> None:
    cache = CachingAllocator()
    for lives in requests:
        request = [Life(life.size * scale, life.first, life.last) for life in lives]
        cache.serve(request)
        assert cache.held >= plans.most_alive(request)
        for segment in cache.segments:
            assert [(block.size, block.used) for block in segment.blocks] == [(segment.size, False)]


def bytes_of(cache: CachingAllocator) -> list[int]:
    return [segment.size for segment in cache.segments]
