"""LoRA, QLoRA's storage and AlphaTuning's codes: identities and counts."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from casestudies.lab.contract import Judgement, Setup
from casestudies.lab.equations.inference_memory import double_quantization_bits
from casestudies.lab.equations.parameters import lora_parameters
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.models.shapes import SHAPES
from casestudies.lab.quantize import nf4
from casestudies.lab.studies.lora import about, adapters, binary, counting, methods
from casestudies.lab.studies.lora.cost import StepBytes, Training
from casestudies.lab.studies.lora.frozen import Nf4Linear
from casestudies.lab.studies.lora.study import said_of_memory
from tests.lab.declared import measured
from tests.lab.tiny import CONFIG, tiny_model, tiny_windows

MERGED = [name for name in methods.METHODS if name not in ("full", "last block")]
# Whatever rounds the weights changes the model; these must not.
EXACT = [name for name in methods.METHODS if name not in ("qlora 4", "alphatuning")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adapted(method: str) -> LanguageModel:
    return methods.adapted(tiny_model(), methods.METHODS[method], generator())


def shaken(model: LanguageModel) -> LanguageModel:
    """Move what is trained away from where it begins, as training does."""
    with torch.no_grad():
        for weight in methods.trained(model):
            weight.add_(torch.randn(weight.shape, generator=generator(3)), alpha=0.1)
    return model


@pytest.mark.parametrize("method", EXACT)
def test_nothing_is_changed_at_the_start(method: str) -> None:
    windows = tiny_windows()
    assert adapted(method)(windows).equal(tiny_model()(windows))


def test_qlora_begins_as_the_model_with_rounded_weights() -> None:
    rounded, windows = tiny_model(), tiny_windows()
    with torch.no_grad():
        for linear in rounded.linears().values():
            linear.weight.copy_(nf4.dequantize(nf4.quantize(linear.weight), linear.weight.shape))
    assert adapted("qlora 4")(windows).equal(rounded(windows))
    assert not rounded(windows).equal(tiny_model()(windows))


@pytest.mark.parametrize("method", MERGED)
def test_merged_weights_do_what_adapters_do(method: str) -> None:
    model, windows = shaken(adapted(method)), tiny_windows()
    merged = methods.merge(model)
    assert all(isinstance(layer, nn.Linear) for b in merged.blocks for layer in layers_of(b))
    expected = model(windows)
    apart = (merged(windows) - expected).abs().max() / expected.abs().max()
    assert apart < 1e-5
    # They do something, or the above says nothing.
    assert not expected.allclose(adapted(method)(windows), atol=1e-2)


def layers_of(block: nn.Module) -> list[nn.Module]:
    return [m for name, m in block.named_children() if not name.endswith("norm")]


@pytest.mark.parametrize("method", [m for m in methods.METHODS if m != "full"])
def test_what_is_frozen_gets_no_gradient_and_does_not_move(method: str) -> None:
    before = adapted(method).state_dict()
    training = Training(tiny_model(), method, 12, Setup("cpu", 0))
    training.gradients()
    for name, weight in training.model.named_parameters():
        assert (weight.grad is not None) == weight.requires_grad, name
    training.step()
    training.step()  # A has no gradient while B is zero
    moved = {n for n, v in training.model.state_dict().items() if not v.equal(before[n])}
    assert moved == {n for n, w in training.model.named_parameters() if w.requires_grad}


@settings(max_examples=30)
@given(outputs=st.integers(1, 40), inputs=st.integers(1, 40), rank=st.integers(1, 20))
def test_an_adapter_has_r_times_both_sides_parameters(outputs: int, inputs: int, rank: int) -> None:
    adapter = adapters.LowRank(nn.Linear(inputs, outputs, bias=False), rank, generator())
    adapter.base.requires_grad_(False)
    counted = lora_parameters(matrices=1, rank=rank, inputs=inputs, outputs=outputs)
    assert sum(w.numel() for w in methods.trained(adapter)) == counted
    shape = counting.Shape(3, {"query": (outputs, inputs)}, 1)
    assert counting.of_low_rank(shape, rank, ("query",)) == 3 * counted


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("GPT-2 medium", 354_823_168),
        ("GPT-2 large", 774_030_080),
        ("OPT-1.3B", 1_315_758_080),
        ("SmolLM2-135M", 134_515_008),
    ],
)
def test_published_shapes_have_the_parameters_of_the_published_weights(
    name: str, parameters: int
) -> None:
    assert counting.PUBLISHED[name].parameters == parameters


def test_counts_on_a_shape_are_those_of_a_model_of_it() -> None:
    with torch.device("meta"):
        model = LanguageModel(SHAPES["smollm2-135m"], tied=True)
    shape = counting.PUBLISHED["SmolLM2-135M"]
    assert shape.parameters == sum(w.numel() for w in model.parameters())
    rows = sum(linear.out_features for linear in model.linears().values())
    assert counting.of_first_scales(shape) == rows


@pytest.mark.parametrize(("rank", "millions"), [(1, 4.7), (8, 37.7)])
def test_gpt_3_has_as_many_parameters_trained_as_in_table_4(rank: int, millions: float) -> None:
    shape = counting.PUBLISHED["GPT-3 175B"]
    count = counting.of_low_rank(shape, rank, methods.QUERY_AND_VALUE)
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_nf4_takes_four_bits_and_those_of_its_constants() -> None:
    # As many weights as fill blocks and their blocks, and the mean of all constants.
    layer = Nf4Linear(nn.Linear(256, 64 * 256, bias=False))
    weights = 256 * 64 * 256
    mean = 4
    assert 8 * (layer.constant_bytes - mean) / weights == double_quantization_bits()
    assert 8 * (layer.stored_bytes - layer.constant_bytes) == 4 * weights


def test_a_product_with_nf4_has_the_gradient_of_the_plain_one() -> None:
    layer = Nf4Linear(nn.Linear(24, 17, bias=False))
    x = torch.randn(2, 3, 24, generator=generator(), requires_grad=True)
    found = torch.autograd.grad(layer(x).square().sum(), x)[0]
    expected = torch.autograd.grad((x @ layer.weight.T).square().sum(), x)[0]
    torch.testing.assert_close(found, expected)


@settings(max_examples=25)
@given(seed=st.integers(0, 1000))
def test_binary_codes_find_what_is_made_of_them_and_more_are_closer(seed: int) -> None:
    signs = torch.randint(0, 2, (5, 40, 2), generator=generator(seed)) * 2.0 - 1
    made = (signs * torch.tensor([1.0, 0.5])).sum(-1)
    assert off(made, 2) < 1e-3
    weight = torch.randn(6, 50, generator=generator(seed))
    errors = [off(weight, count) for count in (1, 2, 3, 4)]
    assert errors == sorted(errors, reverse=True)


@settings(max_examples=30)
@given(outputs=st.integers(1, 9), inputs=st.integers(1, 40), seed=st.integers(0, 1000))
def test_alphatuning_keeps_a_bit_a_code_and_computes_with_them(
    outputs: int, inputs: int, seed: int
) -> None:
    linear = nn.Linear(inputs, outputs, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(outputs, inputs, generator=generator(seed)))
    layer = adapters.FirstCodeScale(linear)
    x = torch.randn(3, inputs, generator=generator(seed), requires_grad=True)
    alphas, codes = binary.binary_codes(linear.weight.detach())
    expected = x @ (codes * alphas[:, None]).sum(-1).T
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    found, back = (torch.autograd.grad(y.sum(), x)[0] for y in (layer(x), expected))
    torch.testing.assert_close(found, back, rtol=1e-4, atol=1e-4)
    codes_bytes = layer.stored_bytes - layer.constant_bytes
    assert codes_bytes == binary.CODES * -(-outputs * inputs // 8)
    assert layer.constant_bytes == 4 * binary.CODES * outputs


def off(weight: Tensor, count: int) -> float:
    alphas, codes = binary.binary_codes(weight, count)
    assert codes.abs().eq(1).all()
    return ((codes * alphas[:, None]).sum(-1) - weight).square().mean().item()


def test_bytes_are_sixteen_for_what_is_trained_and_four_for_what_is_not() -> None:
    full, lora = (
        Training(copy.deepcopy(tiny_model()), method, 12, Setup("cpu", 0)).bytes()
        for method in ("full", "lora 4")
    )
    parameters = sum(w.numel() for w in tiny_model().parameters())
    step_counters = 4 * len(list(tiny_model().parameters()))
    assert full.trained == parameters
    assert full.weights + full.gradients == 8 * parameters
    assert full.optimizer == 8 * parameters + step_counters
    assert lora.trained == CONFIG.layers * 4 * (32 + 32 + 32 + 16)
    assert lora.weights == 4 * (parameters + lora.trained)
    assert lora.gradients == 4 * lora.trained
    assert full.peak >= full.weights + full.gradients + full.optimizer
    assert lora.weights + lora.gradients + lora.optimizer <= lora.peak < full.peak


def judged(claim: str, *rows: tuple[str, str, float, str], blocks: int = 30) -> Judgement:
    """Return how a claim stands beside a run that measured these: metric, variant, value, part."""
    given = [(*row[:3], {"part": row[3]} if row[3] else {}) for row in rows]
    found = measured(about.STUDY, given, measured_blocks=blocks, measured_tokens=128)
    return about.STUDY.judge(found)[claim]


@pytest.mark.parametrize(
    ("full", "status"), [(300, "supported"), (299, "direction agrees"), (149, "not reproduced")]
)
def test_a_third_of_the_memory_is_judged_by_the_rule(full: float, status: str) -> None:
    rows = [("step memory", "full", full, ""), ("step memory", "lora 4", 100.0, "")]
    assert judged("hu2021lora-1", *rows).status == status
    assert judged("hu2021lora-1", *rows, blocks=6).status == "not run"


def state(variant: str, weights: float, gradients: float, optimizer: float) -> list:
    parts = {"weights": weights, "gradients": gradients, "optimizer": optimizer}
    return [("bytes per parameter", variant, value, part) for part, value in parts.items()]


def test_gpus_are_counted_with_16_bit_weights() -> None:
    rows = [*state("full", 4, 4, 8), *state("lora 4", 4.01, 0.01, 0.02)]
    found = judged("lv2023collie-1", *rows)
    assert found.status == "supported"
    assert {n.name.split(",")[0]: n.value for n in found.numbers}["GPUs of 80 GB for it"] == 10


@pytest.mark.parametrize(("adapter", "status"), [(12, "supported"), (16, "direction agrees")])
def test_qlora_fits_by_how_its_adapters_are_stored(adapter: float, status: str) -> None:
    rows = [
        *state("full", 4, 4, 8),
        ("bits per weight", "qlora 4", 4.127, ""),
        ("bytes per trained parameter", "qlora 4", adapter, ""),
    ]
    assert judged("dettmers2023qlora-0", *rows).status == status


def test_the_sentence_on_memory_says_both_numbers_that_were_counted() -> None:
    full, lora = (StepBytes(0, 0, 0, 0, 0, peak=peak * 2**20) for peak in (900, 400))
    said = said_of_memory({"full": full, "lora 4": lora}, 3)
    assert "with 3 of its 30 blocks, a step of LoRA holds 400 MiB, 2.25 x less" in said
