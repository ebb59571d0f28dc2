"""Texts of different lengths without padding: the same at every token, and counts by equations."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from casestudies.lab.contract import Judgement
from casestudies.lab.equations import operations
from casestudies.lab.models import attention
from casestudies.lab.models.bert import BertBlock, BertShape
from casestudies.lab.models.packed import Packing
from casestudies.lab.studies.padding_removal import heads, reading
from casestudies.lab.studies.padding_removal.about import STUDY
from casestudies.lab.studies.padding_removal.reading import Batch, Counted, Reader
from casestudies.lab.studies.padding_removal.study import FILLS
from tests.lab.declared import measured
from tests.lab.tiny import CONFIG, talkative_model

SOME_LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=6)
LENGTHS = [7, 1, 12, 3, 3, 9]
CPU_KERNEL = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


def reader() -> Reader:
    return Reader(talkative_model().double())


def texts(lengths: Sequence[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(CONFIG.vocabulary, (length,), generator=generator) for length in lengths]


def batch(lengths: Sequence[int]) -> Batch:
    return reading.batches(texts(lengths), range(len(lengths)), len(lengths))[0]


def alone(one: Reader, lengths: Sequence[int]) -> Tensor:
    """What the head reads of each token when each text is read by itself, without any batch."""
    return torch.cat([one._model.hidden(text[None])[0] for text in texts(lengths)])


@given(lengths=SOME_LENGTHS)
def test_unpacking_and_packing_leave_a_row_as_it_was(lengths: list[int]) -> None:
    packing = Packing(lengths)
    row = torch.arange(packing.tokens * 2.0).view(-1, 2)
    padded = packing.unpack(row)
    assert torch.equal(packing.pack(padded), row)
    assert torch.equal(padded[..., 1] != 0, packing.mask)
    begin = 0
    for text, length in zip(padded, lengths, strict=True):
        assert torch.equal(text[:length], row[begin : begin + length])
        begin += length
    assert packing.offsets[-1] == begin


@pytest.mark.parametrize("lengths", [[], [3, 0]])
def test_a_text_without_tokens_is_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="each text needs a token"):
        Packing(lengths)


@torch.inference_mode()
@settings(max_examples=8)
@given(lengths=SOME_LENGTHS)
def test_every_way_gives_what_a_text_alone_gives(lengths: list[int]) -> None:
    one = reader()
    for way in (one.padded, one.unpacked, one.variable):
        torch.testing.assert_close(way(batch(lengths)), alone(one, lengths), rtol=0, atol=1e-10)


@torch.inference_mode()
def test_surprise_is_of_each_texts_own_next_tokens() -> None:
    one, several = reader(), batch(LENGTHS)
    found = one.surprise(one.variable(several), several)
    assert [len(nats) for nats in found] == [length - 1 for length in LENGTHS]
    for text, nats in zip(texts(LENGTHS), found, strict=True):
        chances = one._model(text[None])[0, :-1].log_softmax(-1)
        expected = -chances.gather(1, text[1:, None])[:, 0]
        torch.testing.assert_close(nats.double(), expected, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_what_stands_in_the_padding_changes_nothing() -> None:
    one, several = reader(), batch(LENGTHS)
    other = several.tokens.where(several.packing.mask, 7)
    assert not torch.equal(other, several.tokens)
    assert torch.equal(one.padded(replace(several, tokens=other)), one.padded(several))


@torch.inference_mode()
@pytest.mark.parametrize("lengths", [LENGTHS, [5, 5, 5]])
def test_counts_are_the_equations_and_pytorchs_own(lengths: list[int]) -> None:
    one, several = reader(), batch(lengths)
    slots, squares = len(lengths) * max(lengths), len(lengths) * max(lengths) ** 2
    own = sum(lengths), sum(length**2 for length in lengths)
    ways = {one.padded: (slots, squares), one.unpacked: (own[0], squares), one.variable: own}
    for way, (tokens, entries) in ways.items():
        kernel = {CPU_KERNEL: _operations_of_attention}  # which its counter does not know
        with Counted() as counted, FlopCounterMode(display=False, custom_mapping=kernel) as theirs:
            way(several)
        one.hold(counted, tokens, entries)
        with pytest.raises(RuntimeError, match="by the lengths"):
            one.hold(counted, tokens, entries + 1)
        with pytest.raises(RuntimeError, match="by the lengths"):
            one.hold(counted, tokens + 1, entries)
        by_equation = operations.forward_operations_of_lengths(
            parameters=one.parameters,
            tokens=tokens,
            layers=CONFIG.layers,
            hidden=CONFIG.width,
            entries=entries,
        )
        assert counted.operations == by_equation == theirs.get_total_flops()
        with counted:
            attention.stock(*torch.zeros(3, 1, 1, 5, 8))  # of another width
        with pytest.raises(RuntimeError, match="by the lengths"):
            one.hold(counted, tokens, entries)


def _operations_of_attention(query: Any, key: Any, *rest: Any, **options: Any) -> int:
    batch, heads, queries, width = query
    return int(4 * batch * heads * queries * key[-2] * width)


def test_layers_that_read_different_tokens_have_no_one_count() -> None:
    with Counted() as counted:
        for rows in (2, 3):
            torch.nn.Linear(4, 4)(torch.zeros(rows, 4))
    with pytest.raises(RuntimeError, match="different numbers of tokens"):
        counted.tokens  # noqa: B018 - it raises


@given(lengths=SOME_LENGTHS, hidden=st.integers(1, 64))
def test_a_layer_by_its_fill_is_the_least_that_lengths_take(
    lengths: list[int], hidden: int
) -> None:
    def of(fill: float) -> float:
        return operations.layer_operations_without_padding(
            fill=fill, batch=len(lengths), tokens=max(lengths), hidden=hidden
        )

    def exactly(texts: list[int]) -> float:
        return operations.forward_operations_of_lengths(
            parameters=12 * hidden**2,
            tokens=sum(texts),
            layers=1,
            hidden=hidden,
            entries=sum(length**2 for length in texts),
        )

    mean = sum(lengths) / len(lengths)
    assert of(mean / max(lengths)) <= exactly(lengths) * (1 + 1e-12)
    assert of(1) == exactly([max(lengths)] * len(lengths)) >= exactly(lengths)
    if mean == max(lengths):
        assert exactly(lengths) == of(1)


def test_a_layer_of_bert_multiplies_what_the_equation_says() -> None:
    shape = BertShape(layers=1, width=32, heads=4)
    with Counted() as counted:
        BertBlock(shape)(torch.zeros(3, 10, 32))
    assert counted.operations == operations.layer_operations_without_padding(
        fill=1.0, batch=3, tokens=10, hidden=32
    )


@given(
    rows=st.integers(1, 6).flatmap(
        lambda size: st.lists(
            st.lists(st.integers(1, 50), min_size=size, max_size=size), min_size=1, max_size=8
        )
    ),
    pool=st.integers(1, 6),
)
def test_buckets_never_pad_more_than_whole_batches_as_they_arrive(
    rows: list[list[int]], pool: int
) -> None:
    lengths, size = [length for row in rows for length in row], len(rows[0])
    order = reading.by_length(lengths, size * pool)
    assert sorted(order) == list(range(len(lengths)))
    bucketed = reading.slots([lengths[i] for i in order], size)
    assert sum(lengths) <= bucketed <= reading.slots(lengths, size)
    one_by_one = reading.slots(lengths, 1)
    assert one_by_one == sum(lengths)
    read = [one.tokens.numel() for one in reading.batches(texts(lengths), order, size)]
    assert sum(read) == bucketed


@given(count=st.integers(8, 64), longest=st.integers(64, 1024), fill=st.floats(0.2, 1))
def test_lengths_have_the_fill_that_is_asked_for(count: int, longest: int, fill: float) -> None:
    drawn = reading.stratified(count, longest, fill, torch.Generator().manual_seed(count))
    assert len(drawn) == count
    assert max(drawn) == longest
    assert min(drawn) >= 2
    assert sum(drawn) / count / longest == pytest.approx(fill, abs=0.1)


@given(batch=st.integers(2, 128), longest=st.integers(32, 2048))
def test_no_two_fills_are_measured_as_one(batch: int, longest: int) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = (reading.stratified(batch, longest, fill, generator) for fill in FILLS)
    found = [reading.percent(lengths) for lengths in drawn]
    assert found == sorted(set(found))
    assert found[-1] == 100


def test_attention_alone_is_the_same_in_every_way() -> None:
    packing = Packing(LENGTHS)
    padded = torch.randn(3, len(LENGTHS), max(LENGTHS), 4, 8, dtype=torch.float64)
    exact = []
    for text, length in enumerate(LENGTHS):
        query, key, value = padded[:, text, :length].transpose(1, 2)  # each 4, length, 8
        weights = (query @ key.mT / 8**0.5).softmax(-1)
        exact.append((weights @ value).transpose(0, 1))
    for call in heads.calls(packing, padded).values():
        torch.testing.assert_close(call.row(call.attend()), torch.cat(exact), rtol=0, atol=1e-10)


def test_blocks_get_their_attention_back() -> None:
    one = reader()
    with reading.attending(one.blocks, attention.naive):
        assert all(block.attention is attention.naive for block in one.blocks)
    assert all(block.attention is attention.stock for block in one.blocks)


def answer(speeds: Sequence[float], device: str = "cuda", **changed: int) -> Judgement:
    """How the claim stands beside a run that measured these speed-ups at the rule's lengths."""
    parameters = {"attention_batch": 16, "attention_longest": 1024, **changed}
    rows = [
        ("attention speed-up", "varlen", speed, {"length": length})
        for length, speed in zip((128, 256, 512, 1024), speeds, strict=True)
    ]
    result = measured(STUDY, rows, **parameters)
    environment = result.environment.model_copy(update={"device": device})
    (found,) = STUDY.judge(result.model_copy(update={"environment": environment})).values()
    return found


@pytest.mark.parametrize(
    ("speeds", "status"),
    [
        ([6.13] * 4, "supported"),
        ([2.0, 4.0, 8.0, 10.53], "supported"),
        ([2.0, 4.0, 8.0, 10.49], "direction agrees"),
        ([1.0, 1.0, 2.0, 2.0], "direction agrees"),
        ([1.0, 1.0, 2.0, 1.99], "not reproduced"),
    ],
)
def test_the_claim_is_judged_by_the_mean_over_lengths(speeds: list[float], status: str) -> None:
    found = answer(speeds)
    assert found.status == status
    (number,) = found.numbers
    assert number.claimed
    assert number.value == pytest.approx(sum(speeds) / 4)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"device": "cpu"}, "needs a GPU"),
        ({"attention_batch": 8}, "asks for 16 texts and lengths of 128 to 1,024"),
        ({"attention_longest": 512}, "asks for 16 texts and lengths of 128 to 1,024"),
    ],
)
def test_the_claim_asks_for_a_gpu_and_its_sizes(changed: dict[str, Any], reason: str) -> None:
    found = answer([9.0] * 4, **changed)
    assert (found.status, found.reason) == ("not run", reason)


def test_the_preset_for_claims_measures_what_the_rule_asks() -> None:
    parameters = STUDY.check("claims", {}).model_dump()
    assert (parameters["attention_batch"], parameters["attention_longest"]) == (16, 1024)
