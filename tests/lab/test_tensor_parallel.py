"""Tensor parallelism: what is split trains as what is whole, and asks for what the formulas say."""

import re
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.distributed.alone import alone_among
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.equations.communication import (
    all_reduce_bytes,
    gather_bytes,
    tensor_parallel_bytes,
)
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import Config, LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.studies.tensor_parallel.about import (
    BOTH_CORES,
    BY_HAND,
    DATA_PARALLEL,
    LINKS,
    ONE,
    PER_LAYER,
    PER_MODULE,
    SEQUENCE,
    SPLIT,
    STUDY,
    TensorParallelParameters,
)
from casestudies.lab.studies.tensor_parallel.ranks import (
    Task,
    count,
    of_block,
    of_block_among,
    train,
)
from casestudies.lab.studies.tensor_parallel.study import verdict
from casestudies.lab.train.split import Model, check_divides

pytestmark = pytest.mark.xdist_group("ranks")

LAYERS, WIDTH, SEQUENCES, TOKENS = 2, 128, 4, 16
FEED_FORWARD, FLOAT32 = 352, 4
WINDOWS = np.random.default_rng(0).integers(0, 60, (3, SEQUENCES, TOKENS + 1))
TASK = Task(60, WIDTH, LAYERS, 0, WINDOWS, WINDOWS[0])
STATE = SEQUENCES * TOKENS * WIDTH * FLOAT32  # bytes of the hidden state


def model(width: int = WIDTH) -> LanguageModel:
    return shapes.small(60, width, LAYERS, torch.Generator().manual_seed(0))


def test_a_block_in_parts_is_the_block_to_the_last_bit() -> None:
    tokens = torch.from_numpy(WINDOWS[0])
    assert Model(model())(tokens).equal(model()(tokens))


@pytest.mark.parametrize(
    ("world", "ways"), [(2, (DATA_PARALLEL, *SPLIT)), (4, (BY_HAND, SEQUENCE))]
)
def test_all_ways_train_as_one_process_does(world: int, ways: tuple[str, ...]) -> None:
    for found in on_ranks(world, train, TASK, (ONE, *ways), seconds=120):
        expected = found[ONE]
        assert expected.losses[-1] < expected.losses[0] - 0.01
        for one in found.values():
            assert one.losses == pytest.approx(expected.losses, abs=1e-5)
            assert one.evaluation == pytest.approx(expected.evaluation, abs=1e-5)
            # Of the first step, before rounding could grow; a wrong sum would be about 1.
            assert one.apart < 1e-5


def test_ranks_start_the_collectives_and_have_the_weights_of_the_split() -> None:
    world = 2
    sums, pairs = {"all-reduce": 2}, {"all-gather": 2, "reduce-scatter": 2}
    expected = {
        BY_HAND: (sums, sums),
        PER_LAYER: (sums, {"all-reduce": 5}),  # query, key, value, gate and up each for itself
        PER_MODULE: (sums, sums),
        SEQUENCE: (pairs, pairs),
        DATA_PARALLEL: ({}, {}),
    }
    matrices, norms = 4 * WIDTH**2 + 3 * WIDTH * FEED_FORWARD, 2 * WIDTH
    volume = tensor_parallel_bytes(
        tensor_ranks=world, tokens=TOKENS, batch=SEQUENCES, hidden=WIDTH, number_bytes=FLOAT32
    )
    # Where tokens are shared out the hidden state is gathered once each way, and so are the sums
    # of the norms' gradients.
    ends = 2 * gather_bytes(ranks=world, payload_bytes=STATE)
    ends += all_reduce_bytes(ranks=world, payload_bytes=LAYERS * norms * FLOAT32)
    for found in on_ranks(world, count, TASK, tuple(expected), seconds=120):
        for variant, (forward, backward) in expected.items():
            block = found[variant].block
            assert (block.forward, block.backward) == (forward, backward), variant
            whole = variant == DATA_PARALLEL
            assert block.weights == matrices // (1 if whole else world) + norms
        for variant, factor in ((BY_HAND, 1), (PER_MODULE, 1), (PER_LAYER, 7 / 4)):
            assert found[variant].block.bytes_sent == factor * volume
            assert found[variant].bytes_sent == LAYERS * factor * volume
        assert found[SEQUENCE].block.bytes_sent == volume
        assert found[SEQUENCE].bytes_sent == LAYERS * volume + ends
        gradients = FLOAT32 * sum(weight.numel() for weight in model().parameters())
        sent = found[DATA_PARALLEL].bytes_sent
        assert sent == pytest.approx(all_reduce_bytes(ranks=world, payload_bytes=gradients), 0.01)


@settings(max_examples=12)
@given(
    st.sampled_from([2, 3, 4, 6, 8, 12, 24, 48, 64]),
    st.integers(1, 3),
    st.integers(1, 9),
    st.sampled_from([BY_HAND, PER_MODULE, SEQUENCE]),
)
def test_any_number_of_ranks_sends_the_publications_volume(world, times, tokens, variant) -> None:
    width, tokens = 4 * times * world, world * tokens
    config = Config(60, width, 2 * world, 1, times * world, times * world, 1e4, 1e-5)
    found = of_block_among(world, variant, config, tokens)
    # Narayanan et al. 2021, section 3.2: 8 b s h (t - 1) / t numbers a layer.
    assert found.bytes_sent / FLOAT32 == pytest.approx(8 * tokens * width * (world - 1) / world)
    assert found.weights == (4 * width**2 + 6 * world * width) // world + 2 * width


def kept(world: int, variant: str) -> int:
    """Return the bytes that autograd keeps of a block on the first of so many ranks."""
    with alone_among(world):
        return of_block(variant, model(256), SEQUENCES, TOKENS).saved_bytes


def test_what_is_kept_is_a_part_that_stays_and_one_that_the_ranks_share() -> None:
    # Twice as wide: autograd keeps no copy of the heads where a rank has but one.
    state, angles = 2 * STATE, 2 * TOKENS * 16 * FLOAT32  # angles by cosine and sine
    statistics = 2 * SEQUENCES * TOKENS * FLOAT32  # of the norms

    def split(two: int, four: int) -> int:
        return 4 * (two - four)

    for variant in (BY_HAND, PER_MODULE):
        one, two, four = (kept(world, variant) for world in (1, 2, 4))
        assert one == two + split(two, four) / 2
        # What each of the two norms reads, its scaled form, and what it gives.
        assert one - split(two, four) == 6 * state + angles + statistics
    one, two, four = (kept(world, SEQUENCE) for world in (1, 2, 4))
    assert one == two + split(two, four) / 2
    # What was gathered for the two parts; Megatron-LM gathers it again instead.
    assert one - split(two, four) == 2 * state + angles


def test_what_does_not_divide_is_refused() -> None:
    check_divides(model(), 2)
    with pytest.raises(ValueError, match="4 heads cannot be divided among 3 ranks"):
        check_divides(model(), 3)
    odd = LanguageModel(Config(60, 128, 350, 1, 4, 4, 1e4, 1e-5), tied=True)
    with pytest.raises(ValueError, match=r"350 feed-forward columns .* among 4 ranks"):
        check_divides(odd, 4)


def test_the_verdict_says_what_a_link_leaves_and_what_the_same_cores_do_in_one_process() -> None:
    report = Report(STUDY, emit=lambda event: None)
    backward: Mapping[str, int] = {BY_HAND: 2, PER_LAYER: 5, PER_MODULE: 2, SEQUENCE: 4}
    for variant, number in backward.items():
        report.measure("forward collectives", variant, 2)
        report.measure("backward collectives", variant, number)
        report.measure("equality error", variant, 2e-6)
    report.measure("loss", ONE, 4.5)
    for variant in (BY_HAND, PER_MODULE, DATA_PARALLEL, BOTH_CORES):
        report.measure("speed-up", variant, 1.5 if variant == BY_HAND else 1.8)
        report.measure("speed-up", variant, 0.25, link=LINKS[0])
        report.measure("speed-up", variant, 0.75, link=LINKS[1])
    found = verdict(TensorParallelParameters(), report)
    assert re.search(r"takes 2 \+ 2 all-reduces by hand, .* but 2 \+ 5 by one", found)
    assert re.search(r"\(and on one of 30 MB/s\) a step .* by hand is 1\.50 \(0\.25\) times", found)
    assert found.endswith("cores of both ranks is 1.80 times as fast.")
