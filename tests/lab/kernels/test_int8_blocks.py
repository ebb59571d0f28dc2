"""Blocks in float16 and in int8 are what they say, and only then timed."""

import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.kernels import int8_product, int8_tokens
from casestudies.lab.kernels.int8_product import TILES
from casestudies.lab.measure.equality import relative
from casestudies.lab.report import Report
from casestudies.lab.result import Log, MeasuredEvent
from casestudies.lab.studies.quantization.claims import BATCHES, BERT_BASE, FUSED, GPT3_350M
from casestudies.lab.studies.quantization.on_gpu import block_speed, blocks, fused_blocks
from casestudies.lab.studies.quantization.on_gpu.block_speed import EACH, STATIC, Case
from casestudies.lab.studies.quantization.on_gpu.blocks import Eager, Linear, Shape
from casestudies.lab.studies.quantization.on_gpu.fused_blocks import Fused, InInt8, Watching
from casestudies.lab.studies.quantization.on_gpu.held_blocks import Held
from tests.lab.declared import measured, on_a_gpu

LENGTH = 5
SHAPES = [
    Shape(2, 32, 4, decoder=True, relu=True),
    Shape(2, 32, 4, decoder=False),
    Shape(2, 48, 3, decoder=True),
]
DECODER, ENCODER = (replace(shape, layers=1) for shape in SHAPES[:2])  # of what is timed
each_shape = pytest.mark.parametrize("shape", SHAPES)
QUANTIZATION = STUDIES["quantization"]


@pytest.fixture(autouse=True)
def _little_work(monkeypatch) -> None:
    monkeypatch.setattr(fused_blocks, "TILES", TILES[-2:])
    monkeypatch.setattr(fused_blocks, "PRODUCTS", 1)
    monkeypatch.setattr(fused_blocks, "ROUNDS", 1)
    monkeypatch.setattr(block_speed, "PASSES", 1)


def drawn(shape: Shape, dtype: torch.dtype) -> tuple[list[blocks.Layer[Linear]], Tensor]:
    generator = torch.Generator().manual_seed(0)
    layers = blocks.drawn(shape, generator, dtype)
    return layers, torch.randn(2 * LENGTH, shape.width, generator=generator).to(dtype)


def eager(shape: Shape, layers: list[blocks.Layer[Linear]], x: Tensor) -> Tensor:
    three = [replace(layer, projections=blocks.apart(*layer.projections)) for layer in layers]
    return Eager(shape, LENGTH, "cpu").passed(three, x)


@each_shape
def test_eager_blocks_are_those_of_pytorch(shape) -> None:
    layers, x = drawn(shape, torch.float64)
    y = x.view(2, LENGTH, -1)
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    for layer in layers:
        theirs = nn.TransformerEncoderLayer(
            shape.width,
            shape.heads,
            4 * shape.width,
            dropout=0,
            activation=F.relu if shape.relu else partial(F.gelu, approximate="tanh"),
            batch_first=True,
            norm_first=shape.decoder,
            dtype=torch.float64,
        ).requires_grad_(False)
        attention, (joined,) = theirs.self_attn, layer.projections
        attention.in_proj_weight.copy_(joined.weight)
        attention.in_proj_bias.copy_(joined.bias)
        for own, (weight, bias) in (
            (attention.out_proj, layer.out),
            (theirs.linear1, layer.up),
            (theirs.linear2, layer.down),
            (theirs.norm1, layer.attention_norm),
            (theirs.norm2, layer.feed_norm),
        ):
            own.weight.copy_(weight)
            own.bias.copy_(bias)
        y = theirs(y, src_mask=mask if shape.decoder else None)
    torch.testing.assert_close(eager(shape, layers, x), y.flatten(0, 1))


@each_shape
def test_fused_blocks_are_the_eager_ones(shape) -> None:
    layers, x = drawn(shape, torch.float32)
    found = Fused(shape, LENGTH, "cpu").passed(layers, x)
    # PyTorch's fused GELU is not by tanh on a CPU.
    assert relative(found, eager(shape, layers, x).double()) <= (1e-5 if shape.relu else 1e-3)


class OwnScales(InInt8):
    """Refuses what was rounded by a known scale that is not the reader's own."""

    def product(self, read, linear, *given, **named) -> Tensor:
        assert linear.step is None or read.scale is linear.step
        return super().product(read, linear, *given, **named)


@each_shape
@pytest.mark.parametrize("known", [False, True])
def test_each_step_in_int8_is_that_of_float64_and_the_whole_is_near_the_unrounded_one(
    shape, known
) -> None:
    layers, x = drawn(shape, torch.float16)
    watching = Watching(shape, LENGTH, "cpu")
    watching.passed(layers, x)
    rounded = fused_blocks.in_int8(layers, watching.largest if known else None)
    held = Held(OwnScales(shape, LENGTH), "cpu")
    found = held.passed(rounded, x)
    assert held.apart <= 1e-3
    # What codes lose is little: nothing was left out.
    lost = found - eager(shape, layers, x).double()
    assert lost.square().mean().sqrt() <= 0.03 * found.double().square().mean().sqrt()


def test_known_scales_are_of_the_largest_that_each_layer_reads() -> None:
    shape = SHAPES[0]
    layers, x = drawn(shape, torch.float32)
    watching = Watching(shape, LENGTH, "cpu")
    watching.passed(layers, x)
    rounded: Any = fused_blocks.in_int8(layers, watching.largest)
    weight, bias = layers[0].attention_norm
    y = F.layer_norm(x, (32,)) * weight + bias
    torch.testing.assert_close(rounded[0].projections[0].step, y.abs().max().view(1) / 127)
    last = rounded[1]
    steps = {each.step.item() for each in (*last.projections, last.out, last.up, last.down)}
    assert len(steps) == 4


def test_the_tile_that_takes_least_is_taken(monkeypatch) -> None:
    def product(*given, tile) -> None:
        time.sleep(0 if tile == TILES[-2] else 0.01)

    monkeypatch.setattr(int8_product, "product", product)
    assert fused_blocks.fastest(3, 5, 7, "cpu") == TILES[-2]


def report() -> tuple[Report, list]:
    events: list = []
    return Report(QUANTIZATION, events.append), events


def metrics_of(events) -> list[tuple[str, str]]:
    return [(event.metric, event.variant) for event in events if isinstance(event, MeasuredEvent)]


@pytest.mark.parametrize(("shape", "variant"), [(DECODER, STATIC), (ENCODER, EACH)])
def test_blocks_are_held_against_float64_and_then_timed(shape, variant) -> None:
    told, events = report()
    block_speed.measure({"small": Case(shape, variant, LENGTH, (1, 2))}, 2, "cpu", told)
    assert metrics_of(events) == 2 * [
        ("equality error", FUSED),
        ("equality error", variant),
        ("speed over eager", FUSED),
        ("speed over eager", variant),
        ("speed over fused", variant),
    ]
    assert {event.settings["tokens"] for event in events} == {LENGTH, 2 * LENGTH}


@pytest.mark.parametrize(
    ("module", "kernel", "variant", "factor"),
    [
        (int8_product, "product", EACH, 1.01),
        (int8_tokens, "normed_only", FUSED, 1.01),
        (int8_tokens, "normed_only", FUSED, torch.nan),
    ],
)
def test_wrong_blocks_are_told_and_not_timed(monkeypatch, module, kernel, variant, factor) -> None:
    right = getattr(module, kernel)

    def wrong(*given, **named):
        found = right(*given, **named)
        return factor * found if isinstance(found, Tensor) else (factor * found[0], found[1])

    monkeypatch.setattr(module, kernel, wrong)
    case = Case(ENCODER, EACH, LENGTH, (1,))
    found = block_speed.timed(case, 1, "cpu", 2)
    assert not found.apart[variant] <= 0.004
    assert not found.over_eager
    told, events = report()
    block_speed.measure({"small": case}, 2, "cpu", told)
    assert {metric for metric, _ in metrics_of(events)} <= {"equality error"}  # but for NaN
    (log,) = (event for event in events if isinstance(event, Log))
    assert "small, 5 tokens" in log.text


def test_a_case_that_fails_costs_no_other() -> None:
    told, events = report()
    cases = {
        "not whole heads": Case(replace(ENCODER, heads=5), EACH, LENGTH, (1,)),
        "small": Case(ENCODER, EACH, LENGTH, (1,)),
    }
    block_speed.measure(cases, 2, "cpu", told)
    assert "not run" in events[0].text
    assert len(metrics_of(events)) == 5


def test_shapes_are_the_published_ones_and_small_ones_are_small() -> None:
    numbers = {
        model: 12 * case.shape.layers * case.shape.width**2
        for model, case in block_speed.CASES.items()
    }
    assert numbers == {
        "OPT-30B block": 616_562_688,
        BERT_BASE: 84_934_656,
        GPT3_350M: 301_989_888,
    }
    assert all(case.shape.width == 64 for case in block_speed.SMALL.values())


@pytest.mark.parametrize(
    ("value", "status"),
    [(1.2, "direction agrees"), (9.0, "direction agrees"), (1.19, "not reproduced")],
)
def test_a_block_of_opt_is_never_a_whole_model(value, status) -> None:
    settings = {"model": "OPT-30B block", "tokens": 512}
    found = measured(QUANTIZATION, [("speed over fused", STATIC, value, settings)])
    claim = "xiao2022smoothquant-0"
    assert QUANTIZATION.judge(found)[claim].status == "not run"
    assert QUANTIZATION.judge(on_a_gpu(found))[claim].status == status


@pytest.mark.parametrize(("claim", "model", "statuses"), [
    ("yao2022zeroquant-0", BERT_BASE,
     {5.19: "supported", 5.18: "direction agrees", 1.5: "direction agrees",
      1.49: "not reproduced"}),
    ("yao2022zeroquant-1", GPT3_350M,
     {4.16: "supported", 4.15: "direction agrees", 1.5: "direction agrees",
      1.49: "not reproduced"}),
])  # fmt: skip
def test_the_best_batch_decides_beside_float16_fused(claim, model, statuses) -> None:
    for best, status in statuses.items():
        rows = [
            ("speed over eager", variant, value, {"model": model, "tokens": 128 * batch})
            for batch in BATCHES
            for variant, value in ((EACH, best if batch == 4 else 1.1), (FUSED, batch / 2))
        ]
        found = measured(QUANTIZATION, rows)
        assert QUANTIZATION.judge(found)[claim].status == "not run"
        judgement = QUANTIZATION.judge(on_a_gpu(found))[claim]
        assert judgement.status == status
        assert [number.value for number in judgement.numbers] == [best, 2.0]
    without_one = on_a_gpu(measured(QUANTIZATION, rows[2:]))
    assert QUANTIZATION.judge(without_one)[claim].status == "not run"
