"""Scaled weights, rounded activations, kernels of packed weights, and what a run says."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from casestudies.lab.models import attention
from casestudies.lab.quantize.quantized import Format, rounded
from casestudies.lab.quantize.reading import reading
from casestudies.lab.studies.quantization import claims, int8, sizes, speed
from casestudies.lab.studies.quantization.about import STUDY
from casestudies.lab.studies.quantization.awq import awq
from casestudies.lab.studies.quantization.smoothquant import smoothing
from casestudies.lab.studies.quantization.study import with_rounded_cache
from tests.lab.declared import statuses
from tests.lab.smoke import shares_the_smoke_run, smoke_run

SHAPES = [(64, 64), (192, 576), (96, 128)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(rows: int, columns: int) -> nn.Linear:
    linear = nn.Linear(columns, rows, bias=False).requires_grad_(False)
    linear.weight.copy_(normal(rows, columns, seed=7))
    return linear


def with_outlier(tokens: int, columns: int, size: float) -> Tensor:
    x = normal(tokens, columns).clamp(-3, 3)
    x[tokens // 2, columns // 3] = size
    return x


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 40), st.sampled_from([1e-4, 1.0, 1e4]))
def test_no_activation_moves_further_than_half_a_scale(tokens, columns, width) -> None:
    linear, x = layer(4, columns), width * normal(tokens, columns)
    for read, scale in (
        (int8.per_tensor, x.abs().max() / 127),
        (int8.per_token, x.abs().amax(-1, keepdim=True) / 127),
    ):
        assert ((read(linear, x) - x).abs() <= 0.501 * scale).all()


def test_one_outlier_takes_all_tokens_numbers_but_with_a_scale_a_token_only_its_own() -> None:
    linear, x = layer(4, 30), with_outlier(8, 30, 3000.0)
    others = torch.arange(8) != 4
    assert (int8.per_tensor(linear, x)[others] == 0).all()
    kept = int8.per_token(linear, x)
    assert (kept[others] - x[others]).abs().max() < 0.02
    assert (kept[4] == 0).sum() == 29


def test_outliers_apart_stay_as_they_are_and_the_rest_is_rounded_without_them() -> None:
    linear, x = layer(4, 30), with_outlier(8, 30, 3000.0)
    apart = int8.OutliersApart(6.0)
    found = apart(linear, x)
    assert found[:, 10].equal(x[:, 10])
    assert (found - x).abs().max() < 0.02
    assert apart.share == 29 / 30
    # Where there are none, all is in 8 bits.
    assert int8.OutliersApart(6.0)(linear, x[:4]).equal(int8.per_token(linear, x[:4]))


@settings(max_examples=20)
@given(tokens=st.integers(1, 9), columns=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_threshold_of_zero_is_the_exact_product_and_of_infinity_plain_int8(
    tokens, columns, seed
) -> None:
    linear, x = layer(4, columns), 10 * normal(tokens, columns, seed=seed)
    for threshold, plain, share in ((0.0, x, 0), (math.inf, int8.per_token(linear, x), 1)):
        apart = int8.OutliersApart(threshold)
        with reading([linear], apart):
            assert linear(x).equal(plain @ linear.weight.T)
        assert apart.share == share


def test_quantize_dynamic_is_rounded_as_pytorch_does() -> None:
    weight, x = normal(24, 40, seed=7), with_outlier(9, 40, 30.0)
    with warnings.catch_warnings():
        # Tensors of these types will go; what they hold is what is shown.
        warnings.simplefilter("ignore", UserWarning)
        scale = float(int8.scale_of(weight))
        stored = torch.quantize_per_tensor(weight, scale, 0, torch.qint8)
        packed = torch.ops.quantized.linear_prepack(stored, None)
        wanted = torch.ops.quantized.linear_dynamic(x, packed, True)
    found = int8.as_quantize_dynamic(layer(24, 40), x) @ int8.rounded(weight).T
    # A number between two values may go to either.
    assert (found - wanted).square().mean().sqrt() < 0.05 * wanted.square().mean().sqrt()


def with_salient_columns(tokens: int, columns: int) -> Tensor:
    x = normal(tokens, columns, seed=3)
    x[:, ::16] *= 30
    return x


def error_of(x: Tensor, d: Tensor) -> float:
    return (x @ d.T).square().sum().item()


@settings(max_examples=20)
@given(columns=st.integers(1, 80), bits=st.integers(3, 8), group=st.sampled_from([16, 64, 100]))
def test_awq_changes_what_layers_say_no_more_than_rounding(columns, bits, group) -> None:
    weights, x = [normal(6, columns), normal(3, columns, seed=5)], normal(50, columns, seed=1)
    form = Format(bits, group)
    s, matrices = awq(weights, [x], form)
    pairs = list(zip(weights, matrices, strict=True))
    ours = sum(error_of(x, w - q.weights() / s.float()) for w, q in pairs)
    nearest = sum(error_of(x, w - rounded(w, form).weights()) for w in weights)
    assert ours <= 1.001 * nearest


def test_awq_scales_up_what_large_activations_meet_and_errs_much_less() -> None:
    weight, x, form = normal(32, 128), with_salient_columns(300, 128), Format(4, 64)
    s, (found,) = awq([weight], [x], form)
    assert s[::16].min() > s[1::16].max()
    ours = error_of(x, weight - found.weights() / s.float())
    assert ours < 0.6 * error_of(x, weight - rounded(weight, form).weights())


def test_scales_of_awq_change_no_product_before_rounding() -> None:
    weight, x = normal(6, 32).double(), with_salient_columns(50, 32).double()
    s, _ = awq([weight.float()], [x.float()], Format(4, 32))
    torch.testing.assert_close((x / s) @ (weight * s).T, x @ weight.T)


@settings(max_examples=30)
@given(strength=st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]), seed=st.integers(0, 99))
def test_smoothing_changes_no_product_before_rounding(strength, seed) -> None:
    weight, x = normal(6, 20, seed=seed).double(), with_outlier(9, 20, 200.0).double()
    s = smoothing(x.abs().amax(0), [weight], strength)
    torch.testing.assert_close((x / s) @ (weight * s).T, x @ weight.T)


def test_smoothing_by_half_gives_inputs_and_weights_the_same_range() -> None:
    weight, x = normal(6, 20), with_outlier(9, 20, 200.0)
    s = smoothing(x.abs().amax(0), [weight], 0.5)
    torch.testing.assert_close((x / s).abs().amax(0), (weight * s).abs().amax(0))


def test_layers_read_what_they_are_given_only_inside_the_context() -> None:
    linear, x = layer(4, 8), normal(3, 8)
    with reading([linear], lambda layer, given: given * 2):
        torch.testing.assert_close(linear(x), 2 * x @ linear.weight.T)
    torch.testing.assert_close(linear(x), x @ linear.weight.T)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tokens", speed.TOKENS)
def test_kernels_multiply_with_the_weights_as_rounded(shape, tokens) -> None:
    weight, x = normal(*shape) / shape[1] ** 0.5, normal(tokens, shape[1], seed=1).bfloat16()
    wanted = x.float() @ weight.T
    for variant, make in speed.kernels("cpu", tokens).items():
        found = make(weight)(x).float()
        # What 4 and 8 bits and bfloat16 leave of unit variance.
        error = (found - wanted).square().mean().sqrt()
        assert error < (0.2 if variant == "int4 kernel" else 0.02), variant


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        (sizes.GPT2_MEDIUM, 354_823_168),
        (sizes.OPT_1_3B, 1_315_758_080),
    ],
)
def test_published_shapes_have_as_many_parameters_as_their_checkpoints(shape, parameters) -> None:
    matrices = [*shape.attention(), *shape.connected()]
    assert sum(rows * columns for rows, columns in matrices) + shape.others == parameters


def test_four_binary_codes_of_a_weight_take_no_less_than_an_eighth_of_float32() -> None:
    # 4 bits a weight, and 4 scales of 32 bits for a row of 1,024.
    assert 1024 * 1024 * 4 / sizes.binary_codes(1024, 1024) == 32 / (4 + 128 / 1024)


def test_rounded_keys_and_values_are_those_of_four_bits_in_groups_of_64() -> None:
    seen: list[Tensor] = []

    def look(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen.extend([key, value])
        return attention.stock(query, key, value)

    q, k, v = normal(3, 2, 4, 5, 32).unbind()
    with_rounded_cache(look)(q, k, v)
    for found, given_ in zip(seen, (k, v), strict=True):
        # Two heads of 32 of one token are one group.
        groups, wanted = (t.transpose(1, 2).reshape(2 * 5 * 2, 64) for t in (found, given_))
        assert max(len(group.unique()) for group in groups) <= 16
        step = (wanted.amax(1) - wanted.amin(1)) / 15
        assert ((groups - wanted).abs() <= 0.52 * step[:, None]).all()


@shares_the_smoke_run("quantization")
def test_claims_that_bytes_decide_are_decided_by_any_run() -> None:
    found = STUDY.judge(smoke_run("quantization").result)
    status = {claim: judgement.status for claim, judgement in found.items()}
    assert status["dettmers2022llmint8-0"] == "supported"
    assert status["xiao2022smoothquant-2"] == "supported"
    assert status["yao2022zeroquant-2"] == "supported"
    # Four bits against 32 allow at most 8.
    assert status["kwon2022alphatuning-0"] == "direction agrees"
    # A smoke run rounds one block and hardly trains: it says nothing of quality.
    for claim in ("dettmers2022llmint8-1", "dettmers2022llmint8-2", "sheng2023flexgen-2"):
        assert status[claim] == "not run", claim
    assert found["frantar2022gptq-0"].reason == "needs a GPU"


@pytest.mark.parametrize(
    ("ratio", "status"), [(2.9, "supported"), (2.2, "direction agrees"), (1.5, "not reproduced")]
)
def test_a_third_of_the_memory_is_judged_by_the_ratio_of_the_sizes(
    ratio: float, status: str
) -> None:
    of = {"model": claims.GPT3_350M, "part": claims.LINEAR}
    rows = ("stored size", "bfloat16", ratio, of), ("stored size", "8 and 4 bits", 1, of)
    assert statuses(STUDY, rows)["yao2022zeroquant-2"] == status


@shares_the_smoke_run("quantization")
def test_what_is_kept_as_it_is_is_no_worse_in_a_run() -> None:
    result = smoke_run("quantization").result
    rows = {"model": "pretrained", "bits": 8, "group": "whole rows"}
    assert result.value("bits per weight", "rounded", **rows) < 8.1
    assert math.isclose(result.value("perplexity ratio", "rounded", **rows), 1, abs_tol=0.02)
