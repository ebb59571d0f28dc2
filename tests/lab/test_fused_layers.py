"""Fused layers: every way gives the same numbers, and counts are those of the operators."""

import os
import tempfile
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.machine import Machine
from casestudies.lab.report import Report
from casestudies.lab.studies.fused_layers import claimed, layers, optimizers
from casestudies.lab.studies.fused_layers.about import STUDY, FusedLayersParameters
from casestudies.lab.studies.fused_layers.compiled import compiled, compiling
from casestudies.lab.studies.fused_layers.counting import Count, counted
from casestudies.lab.studies.fused_layers.layers import BY_HAND, OP_BY_OP, PYTORCH, Way
from casestudies.lab.studies.fused_layers.model import Shape, Transformer, layer
from casestudies.lab.studies.fused_layers.optimizers import Row
from casestudies.lab.studies.fused_layers.study import (
    TRAININGS,
    Bench,
    Part,
    Training,
    beyond_the_formula,
    both_ways,
    saved_bytes,
    step,
)
from tests.lab.declared import measured

TOKENS, WIDTH, VOCABULARY = 20, 64, 96
SHAPE = Shape(VOCABULARY, WIDTH, 2, TOKENS)
WAYS = {"PyTorch": PYTORCH, "by hand": BY_HAND}

each_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(shape: Shape = SHAPE) -> Transformer:
    """Return a model in float64 whose norms and biases are not what they begin as."""
    made, generator = Transformer(shape, drawn()).double(), drawn(1)
    for weight in made.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return made


def first_layer(own: Transformer) -> list[Tensor]:
    return [weight for name, weight in own.named_parameters() if name.startswith("decoder.0.")]


def windows(batch: int = 3) -> Tensor:
    return torch.randint(VOCABULARY, (batch, TOKENS + 1), generator=drawn(2))


def gradients(way: Way, shape: Shape = SHAPE) -> list[Tensor]:
    """Return the loss and all gradients of a batch, dropout the same each time."""
    own, read = model(shape), windows()
    source = read[:, 1:] if shape.encoder_layers else None
    loss = own(read, way, own.masks(read, drawn(3)), source)
    return [loss, *torch.autograd.grad(loss, list(own.parameters()))]


@pytest.mark.parametrize("encoder_layers", [0, 2])
@each_way
def test_loss_and_every_gradient_are_those_of_the_formulas(way: Way, encoder_layers: int) -> None:
    shape = Shape(VOCABULARY, WIDTH, 2, TOKENS, encoder_layers)
    found, expected = gradients(way, shape), gradients(OP_BY_OP, shape)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)


def test_a_criterion_that_works_in_parts_is_the_same_whatever_their_size(monkeypatch) -> None:
    expected = gradients(OP_BY_OP)
    for tokens in (1, 7, 60, 61):
        monkeypatch.setattr(layers, "TOKENS_AT_ONCE", tokens)
        for own, other in zip(gradients(BY_HAND), expected, strict=True):
            torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("variant", ["PyTorch", "by hand"])
def test_weights_after_steps_are_those_of_training_op_by_op(variant: str) -> None:
    def trained(training: Training) -> list[Tensor]:
        own, generator = model(), drawn(4)
        optimizer = training.make(own.parameters())
        for _ in range(4):
            step(own, training.way, optimizer, windows(), own.masks(windows(), generator))
        return list(own.parameters())

    found, expected = trained(TRAININGS[variant]), trained(TRAININGS["op by op"])
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_row_changes_as_each_weight_does_bit_for_bit(dtype: torch.dtype) -> None:
    models = [model().to(dtype) for _ in range(2)]
    row, listed = Row(models[0].parameters()), optimizers.fused(models[1].parameters())
    generator = drawn(5)
    for _ in range(3):
        found = [
            torch.randn(w.shape, generator=generator).to(dtype) for w in models[0].parameters()
        ]
        row.step(found)
        listed.step(found)
    assert all(map(torch.equal, *(model.parameters() for model in models)))
    assert not any(map(torch.equal, models[0].parameters(), model().to(dtype).parameters()))
    # What the model reads is the row itself.
    assert {w.untyped_storage().data_ptr() for w in models[0].parameters()} == {
        row.row.untyped_storage().data_ptr()
    }


def test_the_optimizer_reads_four_numbers_a_parameter_and_writes_three_in_one_launch() -> None:
    numbers = sum(w.numel() for w in model().parameters())
    weights = len(list(model().parameters()))
    counts = {}
    for name, (_, make) in TRAININGS.items():
        own = model().float()
        optimizer, found = make(own.parameters()), [torch.ones_like(w) for w in own.parameters()]
        optimizer.step(found)
        counts[name] = counted(partial(optimizer.step, found))
    # A step's number is read and written by an operator of its own, and read.
    assert counts["PyTorch"] == Count(2, 4 * (7 * numbers + 3 * weights))
    # The row's gradients are gathered first: read and written once more.
    assert counts["by hand"] == Count(3, 4 * (7 * numbers + 3 + 2 * numbers))
    assert counts["op by op"].operators > 5 * weights
    assert counts["op by op"].bytes > 2 * counts["PyTorch"].bytes


@pytest.mark.parametrize(("way", "beyond"), [(PYTORCH, 20), (BY_HAND, 12 - 6 * WIDTH * 4)])
def test_a_layer_keeps_the_published_bytes_and_its_statistics(way: Way, beyond: int) -> None:
    # Mean and deviation of two norms, and the sum of a head's scores. By hand a norm keeps one of
    # them and no input, and the MLP nothing of what leaves its activation, 4 times as wide.
    own = model().float()
    x = torch.randn(2, TOKENS, WIDTH, generator=drawn(6), requires_grad=True)
    masks = own.masks(windows(2), drawn(3))[:2]
    assert beyond_the_formula(way, x, first_layer(own), masks) == beyond


@pytest.mark.parametrize(("n", "c", "inside"), [(2, 3, 5), (9, 4, 2)])
def test_each_operator_reads_its_operands_and_writes_its_result_once(
    n: int, c: int, inside: int
) -> None:
    def made(*size: int) -> Tensor:
        return torch.randn(size, generator=drawn(7), requires_grad=True)

    x, w, b, mask = made(n, c), made(c), made(c), torch.ones(n, c, dtype=torch.bool)
    h, out = made(n, inside), made(c, inside)
    norm = Part(lambda way: way.norm(x, w, b), [x, w, b])
    # Five times all numbers, mean and deviation both ways, weight, bias and their gradients.
    assert counted(both_ways(norm, PYTORCH)) == Count(2, 4 * (5 * n * c + 4 * n + 6 * c))
    residual = Part(lambda way: way.residual(h, out, b, x, mask), [h, out, b, x])
    products = 3 * n * (c + inside) + 3 * c * inside + 2 * c  # with bias and its gradient
    others = (2 + 2 + 3) + (2 + 2) + 1  # mask, scale, sum; both back; the gradient of the bias
    assert counted(both_ways(residual, PYTORCH)) == Count(
        9, 4 * (products + others * n * c) + 2 * n * c
    )


def test_views_and_what_is_only_set_aside_are_no_operators_and_repeated_numbers_are_one() -> None:
    x, into = torch.ones(4, 1), torch.ones(4, 8)
    assert counted(lambda: x.expand(4, 8).T[2:].unsqueeze(0)) == Count(0, 0)
    assert counted(lambda: torch.empty_like(into)) == Count(0, 0)
    assert counted(lambda: x.expand(4, 8) + 1) == Count(1, 4 * (4 + 32))
    assert counted(lambda: into.add_(x)) == Count(1, 4 * (32 + 4 + 32))
    assert counted(into.zero_) == Count(1, 4 * 32)
    assert counted(lambda: torch.mul(x, x, out=into[:, :1])) == Count(1, 4 * (4 + 4 + 4))


@pytest.mark.parametrize("way", [PYTORCH, BY_HAND])
def test_criterion_by_hand_keeps_no_score(way: Way) -> None:
    n, c, v = 12, 8, 40
    hidden, head = torch.randn(n, c, requires_grad=True), torch.randn(v, c, requires_grad=True)
    targets = torch.zeros(n, dtype=torch.long)
    kept = saved_bytes(lambda: way.loss(hidden, head, targets), [hidden, head])
    # The logarithm of the softmax, the targets and their weight; or the gradients of both.
    assert kept == (4 * n * v + 8 * n + 4 if way is PYTORCH else 4 * (n * c + v * c))


def test_without_a_compiler_it_says_so_and_leaves_the_variant_out(monkeypatch) -> None:
    monkeypatch.setattr(Machine, "here", lambda: Machine(2, 2**34))
    logged: list[str] = []
    report = Report(STUDY, lambda event: logged.append(getattr(event, "text", "")))
    bench = Bench(FusedLayersParameters(**STUDY.presets["smoke"].values), Setup("cpu", 0), report)
    bench.compile()
    assert logged == ["No variant “compiled”: it needs a C++ compiler"]
    bench.hold_against_op_by_op()
    assert {row.variant for row in report.measurements} == {"PyTorch", "by hand"}
    assert max(row.value for row in report.measurements) < 1e-4


@pytest.mark.skipif(not Machine.here().compiler, reason="needs a C++ compiler")
def test_what_is_compiled_is_the_same_in_one_kernel_and_leaves_nothing_behind(
    monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    children = psutil.Process().children(recursive=True)
    x = torch.randn(6, 32)
    with compiling():
        own = compiled(lambda x: (x.sigmoid() + 1) * x)
        torch.testing.assert_close(own(x), (x.sigmoid() + 1) * x)
        assert counted(lambda: own(x)).operators == 1
        assert [*Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).rglob("*.so")]
    assert not [*tmp_path.iterdir()]
    assert psutil.Process().children(recursive=True) == children


def judged(gains: dict[tuple[str, int], float]) -> dict[str, str]:
    """Return how the claims stand beside a run on a GPU; on a CPU none does."""
    rows = [
        ("speed-up", "compiled", gain, {"model": name, "batch": batch})
        for (name, batch), gain in gains.items()
    ]
    result = measured(STUDY, rows)
    for judgement in STUDY.judge(result).values():
        assert (judgement.status, judgement.reason) == ("not run", "needs a GPU")
    on_gpu = result.environment.model_copy(update={"device": "cuda"})
    found = STUDY.judge(result.model_copy(update={"environment": on_gpu}))
    return {claim: judgement.status for claim, judgement in found.items()}


BEST, WORST, TRANSLATION = (f"wang2021lightseq2-{n}" for n in range(3))
AGREES, NOT = "direction agrees", "not reproduced"


def test_claims_agree_with_the_least_that_their_rules_ask_for_and_no_less() -> None:
    *decoders, big = [(case.name, case.batch) for case in claimed.cases()]
    assert len(decoders) == 6
    least = dict.fromkeys(decoders, 1.1) | {decoders[2]: 1.75, big: 1.5}
    assert judged(least) == {BEST: AGREES, WORST: AGREES, TRANSLATION: AGREES}
    for changed, claim in (
        ({decoders[2]: 1.749}, BEST),
        ({decoders[5]: 1.099}, WORST),
        ({big: 1.499}, TRANSLATION),
    ):
        expected = dict.fromkeys((BEST, WORST, TRANSLATION), AGREES) | {claim: NOT}
        assert judged(least | changed) == expected
    # However much it is, the systems of the publication are others.
    assert set(judged(dict.fromkeys([*decoders, big], 9.0)).values()) == {AGREES}
    # All sizes are needed.
    assert judged(dict.fromkeys([*decoders[1:], big], 9.0)) == {
        BEST: "not run",
        WORST: "not run",
        TRANSLATION: AGREES,
    }


@pytest.mark.parametrize("encoder_layers", [0, 1])
def test_a_claimed_shape_is_trained_both_ways_and_its_gain_reported(encoder_layers: int) -> None:
    report = Report(STUDY, lambda event: None)
    case = claimed.Case(claimed.BIG, Shape(VOCABULARY, WIDTH, 1, TOKENS, encoder_layers), 2)
    claimed.Claimed(2, Setup("cpu", 0), report).measure(case, layer)
    found = {(row.metric, row.variant): row.value for row in report.measurements}
    assert found["speed-up", "compiled"] > 0
    assert len(found) == 3
