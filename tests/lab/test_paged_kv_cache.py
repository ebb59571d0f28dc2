"""Blocks and their users, requests served in them, and continuations that share them."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch import Tensor

from casestudies.lab.equations.inference_memory import kv_bytes_per_token
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.paged import Blocks, PagedCache
from casestudies.lab.serving.alone import answer
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.caches import InBlocks
from casestudies.lab.serving.carrying import ModelPasses, PricedPasses
from casestudies.lab.serving.engine import serve
from casestudies.lab.studies.paged_kv_cache.about import STUDY
from casestudies.lab.studies.paged_kv_cache.forks import Beams, Copied, continued, samples
from casestudies.lab.studies.paged_kv_cache.reserving import (
    Counted,
    in_blocks,
    in_pieces,
    next_power,
)
from tests.lab.declared import statuses
from tests.lab.test_serving import asked
from tests.lab.tiny import CONFIG, talkative_model, tiny_model, tiny_windows

HEAD = CONFIG.width // CONFIG.heads
TOKEN_BYTES = kv_bytes_per_token(
    layers=CONFIG.layers, kv_heads=CONFIG.key_value_heads, head_dim=HEAD, number_bytes=4
)
LONGEST = 16  # tokens of prompt and answer together
SIZES = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 9)), min_size=1, max_size=9)


class SharedBlocks(RuleBasedStateMachine):
    """Caches that grow, fork, move out and in, and end, each beside a cache in one piece."""

    @initialize(size=st.integers(1, 5))
    def begin(self, size: int) -> None:
        self.blocks = Blocks(CONFIG, 60 // size, size)
        self.caches: list[tuple[PagedCache, KeyValueCache]] = []
        self.aside: list[tuple[Tensor, KeyValueCache]] = []
        self.numbers = torch.Generator().manual_seed(0)

    @rule()
    def start(self) -> None:
        self.caches.append((PagedCache(self.blocks), KeyValueCache(CONFIG, 1, 250)))

    @precondition(lambda self: self.caches)
    @rule(which=st.integers(0, 99), new=st.integers(1, 7))
    def grow(self, which: int, new: int) -> None:
        paged, plain = self.caches[which % len(self.caches)]
        needed = -(-(plain.length + new) // self.blocks.size) - len(paged.table) + 1
        if needed > self.blocks.free:
            return
        for layer in range(CONFIG.layers):
            shape = (2, 1, CONFIG.key_value_heads, new, HEAD)
            key, value = torch.randn(shape, generator=self.numbers)
            for found, expected in zip(
                paged.extend(layer, key, value), plain.extend(layer, key, value), strict=True
            ):
                assert torch.equal(found, expected)
        paged.advance(new)
        plain.advance(new)

    @precondition(lambda self: self.caches)
    @rule(which=st.integers(0, 99))
    def fork(self, which: int) -> None:
        paged, plain = self.caches[which % len(self.caches)]
        before = self.blocks.used
        self.caches.append((paged.fork(), plain.resized(plain.capacity, "cpu")))
        assert self.blocks.used == before  # nothing is copied yet

    @precondition(lambda self: self.caches)
    @rule(which=st.integers(0, 99))
    def end(self, which: int) -> None:
        self.caches.pop(which % len(self.caches))[0].release()

    @precondition(lambda self: self.caches)
    @rule(which=st.integers(0, 99))
    def move_out(self, which: int) -> None:
        paged, plain = self.caches.pop(which % len(self.caches))
        held = paged.moved_out()
        assert held.nbytes == plain.bytes
        self.aside.append((held, plain))

    @precondition(lambda self: self.aside)
    @rule()
    def move_in(self) -> None:
        held, plain = self.aside[-1]
        if -(-plain.length // self.blocks.size) <= self.blocks.free:
            paged = PagedCache(self.blocks)
            paged.moved_in(held)
            self.caches.append((paged, self.aside.pop()[1]))

    @invariant()
    def each_block_has_the_users_whose_tables_name_it(self) -> None:
        tables = [paged.table for paged, _ in self.caches]
        named = [block for table in tables for block in table]
        assert self.blocks.used == len(set(named))
        assert all(self.blocks.users(block) == named.count(block) for block in named)

    @invariant()
    def less_than_a_block_is_empty_and_bytes_are_those_of_the_tokens(self) -> None:
        for paged, plain in self.caches:
            assert paged.length == plain.length
            assert paged.bytes == plain.bytes == paged.length * TOKEN_BYTES
            assert 0 <= len(paged.table) * self.blocks.size - paged.length < self.blocks.size

    def teardown(self) -> None:
        for paged, _ in getattr(self, "caches", []):
            paged.release()
        if hasattr(self, "blocks"):
            assert self.blocks.used == 0


SharedBlocks.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
test_shared_blocks = SharedBlocks.TestCase


def test_memory_in_blocks_has_the_bytes_of_its_tokens_and_no_more_are_to_be_had() -> None:
    blocks = Blocks(CONFIG, 3, 4)
    assert blocks.bytes == 12 * TOKEN_BYTES
    held = [blocks.take() for _ in range(3)]
    with pytest.raises(MemoryError, match="all 3 blocks are in use"):
        blocks.take()
    blocks.give_back(held[1])
    assert blocks.take() == held[1]


@settings(max_examples=30)
@given(
    sizes=SIZES,
    block=st.integers(1, 7),
    memory=st.integers(2 * LONGEST, 4 * LONGEST),
    slots=st.integers(1, 6),
)
def test_requests_in_blocks_get_the_tokens_that_they_get_alone(sizes, block, memory, slots) -> None:
    requests, model = asked(sizes), tiny_model()
    blocks = Blocks(CONFIG, memory // block, block)
    counted = Counted(in_blocks(block, memory, LONGEST))
    carry = ModelPasses(model, InBlocks(blocks))
    served = serve(requests, slots, counted, carry)
    for job, request in zip(served.jobs, requests, strict=True):
        assert job.said == answer(model, request)
    assert blocks.used == 0
    assert max(counted.held) <= memory
    assert counted.most_empty < block
    # Who had to wait was not read again.
    assert carry.tokens_read == sum(prompt + tokens - 1 for prompt, tokens in sizes)


def test_who_came_last_gives_way_and_loses_nothing() -> None:
    # Both fit until each needs a third block of four: then the second waits for the first.
    requests, model = asked([(4, 8), (4, 8)]), tiny_model()
    blocks = Blocks(CONFIG, 4, 4)
    carry = ModelPasses(model, InBlocks(blocks))
    first, second = serve(requests, 2, in_blocks(4, 16, 12), carry).jobs
    assert first.times[-1] < second.times[-1]
    assert [job.said for job in (first, second)] == [answer(model, r) for r in requests]
    # It had eight tokens in the cache, which went both ways.
    assert carry.moved_bytes == 2 * 8 * TOKEN_BYTES


def test_the_more_is_known_of_lengths_the_more_share_a_pass() -> None:
    # Four requests of 2 + 5 tokens in memory for 16. There is one piece of 16 or of 2 + 8, and two
    # of 2 + 5. Blocks of two are enough for all four until three tokens were added.
    requests = asked([(2, 5)] * 4)
    ways = [in_pieces(name, 16, LONGEST) for name in ("room for the longest", "next power of two")]
    ways += [in_pieces("room for the true length", 16, LONGEST), in_blocks(2, 16, LONGEST)]
    passes = [len(serve(requests, 4, way, PricedPasses(1)).passes) for way in ways]
    assert passes == [20, 20, 10, 7]
    counted = [Counted(way) for way in ways]
    for one in counted:
        serve(requests, 4, one, PricedPasses(1))
    # After its passes a request holds 2 to 6 tokens.
    assert counted[0].share == 100 * 20 / (5 * 16)
    assert counted[1].share == 100 * 20 / (5 * 10)
    assert counted[2].share == pytest.approx(100 * 20 / (5 * 7))
    assert [one.most_empty for one in counted] == [14, 8, 5, 1]


@given(tokens=st.integers(1, 10_000))
def test_the_next_power_of_two_is_less_than_twice_as_much(tokens: int) -> None:
    found = next_power(tokens)
    assert found.bit_count() == 1
    assert tokens <= found < 2 * tokens


def ends(cache, choose, tokens: int = 7) -> Tensor:
    """Return what is said in the end to continue a prompt of five tokens."""
    *_, last = continued(talkative_model(), tiny_windows()[0, :5], tokens, choose, cache)
    return last.said


@pytest.mark.parametrize("size", [1, 3, 16])
def test_samples_and_beams_say_the_same_in_blocks_and_copied_and_give_all_back(size: int) -> None:
    for make in (lambda: samples(3, torch.Generator().manual_seed(0)), lambda: Beams(3)):
        blocks = Blocks(CONFIG, 3 * -(-12 // size), size)
        shared = ends(PagedCache(blocks), make())
        assert torch.equal(shared, ends(Copied(CONFIG, 1, 12), make()))
        assert len({tuple(row) for row in shared.tolist()}) == 3
        assert blocks.used == 0


def test_beams_are_the_most_likely_texts_that_go_on_from_the_most_likely() -> None:
    model, prompt = talkative_model(), tiny_windows()[0, :5]
    kept = [(0.0, list[int]())]
    for _ in range(4):
        longer = []
        for score, said in kept:
            text = torch.cat((prompt, torch.tensor(said, dtype=torch.long)))
            likely = model(text[None])[0, -1].log_softmax(-1)
            longer += [(score + p, [*said, token]) for token, p in enumerate(likely.tolist())]
        kept = sorted(longer, reverse=True)[:3]
    found = ends(PagedCache(Blocks(CONFIG, 40, 1)), Beams(3), tokens=4)
    assert found.tolist() == [said for _, said in kept]
    (alone,) = ends(PagedCache(Blocks(CONFIG, 40, 1)), Beams(1)).tolist()
    assert alone == answer(model, Request(prompt, 7))


def test_samples_of_a_prompt_share_all_its_full_blocks() -> None:
    blocks = Blocks(CONFIG, 12, 2)
    choose = samples(3, torch.Generator().manual_seed(0))
    steps = continued(talkative_model(), tiny_windows()[0, :5], 4, choose, PagedCache(blocks))
    # Two blocks of the prompt are full; the third is copied for two of the samples.
    assert [blocks.used for _ in steps] == [2 + 3, 2 + 6, 2 + 6, 2 + 9]
    assert blocks.copied_bytes == 2 * 2 * TOKEN_BYTES


def judged(longest: float, power: float, **parameters: int) -> list[str]:
    rows: list[tuple[str, str, float, dict[str, Any]]] = [
        ("speed-up", "blocks", longest, {}),
        ("speed-up over powers of two", "blocks", power, {}),
        ("requests at once", "blocks", 9.0, {}),
        ("requests at once", "room for the longest", 4.0, {}),
        ("requests at once", "next power of two", 7.0, {}),
        ("same tokens", "blocks", 1.0, {}),
    ]
    return list(statuses(STUDY, rows, **parameters).values())


def test_claims_are_judged_by_their_rules() -> None:
    assert judged(2.0, 1.3) == ["direction agrees"] * 2
    assert judged(1.99, 1.29) == ["not reproduced"] * 2
    assert judged(2.0, 1.3, requests=31) == ["not run"] * 2
    # Blocks that are pieces, and memory of which nobody is in want.
    assert judged(2.0, 1.3, block=255) == judged(2.0, 1.3, memory=63, requests=64)
    assert judged(2.0, 1.3, block=255) == ["direction agrees"] * 2
    assert judged(2.0, 1.3, block=256) == judged(2.0, 1.3, memory=64, requests=64)
    assert judged(2.0, 1.3, block=256) == ["not run"] * 2
