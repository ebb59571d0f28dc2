"""The cost model, held against published figures, real models, and itself."""

import contextlib
import inspect
import json
import math
import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from random import Random
from typing import Any

import hypothesis
import pytest
import yaml
from hypothesis import assume
from hypothesis import strategies as st

from casestudies.lab.equations import (
    EQUATIONS,
    activations,
    communication,
    duration,
    experts,
    inference_memory,
    operations,
    parameters,
    pipeline,
    speculative,
    training_memory,
)

ROOT = Path(__file__).parents[2]
CHECKS = yaml.safe_load((ROOT / "fixtures" / "check_values.yaml").read_text(encoding="utf-8"))
ROWS = CHECKS["checks"]
DOCUMENT = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8")
PUBLICATIONS = {
    json.loads(line)["key"]
    for line in (ROOT / "fixtures" / "publications.jsonl").read_text(encoding="utf-8").splitlines()
}

# What one of a row's unit is in the unit of the equation: bytes, seconds, operations, shares.
UNITS = {
    "": 1,
    "%": 0.01,
    "10^6": 10**6,
    "10^9": 10**9,
    "10^23": 10**23,
    "GB (10^9)": 10**9,
    "GiB": 2**30,
    "GiB (the paper writes GB)": 2**30,
    "KiB": 2**10,
    "PFLOP/s": 10**15,
    "TiB": 2**40,
    "bit": 1,
    "days": 86400,
    "ms": 0.001,
    "thousand": 1000,
    "x": 1,
}


def zero(stage: int) -> Callable[..., float]:
    return lambda P, N: training_memory.zero_state_bytes(parameters=P * 1e9, ranks=N, stage=stage)


def zero_infinity(L, h):
    return training_memory.model_state_bytes(
        state_bytes=20, parameters=parameters.block_parameters(layers=L, hidden=h)
    )


def megatron_states(L, h, n):
    return training_memory.zero_state_bytes(
        parameters=parameters.block_parameters(layers=L, hidden=h),
        ranks=n,
        stage=3,
        gradient_bytes=4,
    )


def deepspeed_zero3(kept: int) -> Callable[..., float]:
    return lambda P, N, largest: training_memory.zero3_device_bytes(
        largest_layer=largest, state_bytes=kept, parameters=P, ranks=N
    )


def first_stage_plain(s, b, h, a, L, t, p, m):
    layer = activations.tensor_parallel_activation_bytes(
        tokens=s, batch=b, hidden=h, heads=a, tensor_ranks=t
    )
    return activations.first_stage_activation_bytes(layers=L, layer_bytes=layer, stages=p, chunks=m)


def first_stage_selective(s, b, h, a, L, t, p, m):
    layer = activations.sequence_parallel_selective_activation_bytes(
        tokens=s, batch=b, hidden=h, tensor_ranks=t
    )
    return activations.first_stage_activation_bytes(layers=L, layer_bytes=layer, stages=p, chunks=m)


def share_of_tensor_parallel(kept: Callable[..., float]) -> Callable[..., float]:
    def share(s, h, a, t):
        shape = {"tokens": s, "batch": 1, "hidden": h}
        whole = activations.tensor_parallel_activation_bytes(**shape, heads=a, tensor_ranks=t)
        return kept(shape, a, t) / whole

    return share


def utilization_with(count: Callable[..., float]) -> Callable[..., float]:
    def share(s, h, L, B, n, v, time, peak):
        done = count(batch=B, layers=L, tokens=s, hidden=h, vocabulary=v)
        return operations.utilization(operations=done, seconds=time, devices=n, peak_rate=peak)

    return share


def operations_added_by_selective(s, h, V, L):
    step = {"batch": 1, "layers": L, "tokens": s, "hidden": h, "vocabulary": V}
    return operations.step_operations_selective(**step) / operations.step_operations(**step) - 1


def llama_cache(L, kv, d, T, B=1):
    return inference_memory.kv_cache_bytes(layers=L, kv_heads=kv, head_dim=d, tokens=T, sequences=B)


def opt_token(L, h):
    return inference_memory.kv_bytes_per_token(layers=L, kv_heads=h // 128, head_dim=128)


def opt_slots(L, h, GiB):
    return inference_memory.cache_capacity(memory_bytes=GiB * 2**30, token_bytes=opt_token(L, h))


def flexgen_cache_over_weights(b, l, h1, h2, s, n):  # noqa: E741 - the paper's letter
    cache = inference_memory.kv_cache_bytes(
        layers=l, kv_heads=h1 // 128, head_dim=128, sequences=b, tokens=s + n
    )
    return cache / inference_memory.opt_weight_bytes(layers=l, hidden=h1, ffn=h2)


def decode(bits: int) -> Callable[..., float]:
    def seconds(P, bw, t=1, n=1):
        weights = inference_memory.weight_bytes(parameters=P, bits=bits)
        return duration.read_seconds(read_bytes=weights, devices=t * n, bandwidth=bw)

    return seconds


def lora_on_query_and_value(L, h, r):
    return parameters.lora_parameters(matrices=2 * L, rank=r, inputs=h, outputs=h)


# By name of the row: the equations that give its figure, in the row's own letters.
GIVEN_BY: dict[str, Callable[..., float]] = {
    "zero-*-stage1": zero(1),
    "zero-*-stage2": zero(2),
    "zero-*-stage3": zero(3),
    "zero-gpt2-1.5b": lambda P: training_memory.model_state_bytes(
        state_bytes=16, parameters=P * 1e9
    ),
    "zero-infinity-*": zero_infinity,
    # DeepSpeed counts the 16-bit gradients whole in stage 2.
    "deepspeed-zero2-t5-3b": lambda P, N: training_memory.zero_state_bytes(
        parameters=P, ranks=N, stage=1, optimizer_bytes=16
    ),
    "deepspeed-zero2-t5-3b-offload": lambda P: inference_memory.weight_bytes(parameters=P),
    "deepspeed-zero3-t5-3b": deepspeed_zero3(18),
    "deepspeed-zero3-t5-3b-optimizer": deepspeed_zero3(2),
    "deepspeed-zero3-t5-3b-cpu": lambda P, n: training_memory.zero3_host_bytes(
        parameters=P, devices=n
    ),
    "korthikanti-fig1-*-states": megatron_states,
    "korthikanti-fig1-*-none": first_stage_plain,
    "korthikanti-fig1-*-seqsel": first_stage_selective,
    "korthikanti-fig7-*-sequence-parallel": share_of_tensor_parallel(
        lambda shape, a, t: activations.sequence_parallel_activation_bytes(
            **shape, heads=a, tensor_ranks=t
        )
    ),
    "korthikanti-fig7-*-selective": share_of_tensor_parallel(
        lambda shape, a, t: activations.selective_activation_bytes(**shape, tensor_ranks=t)
    ),
    "korthikanti-fig7-*-both": share_of_tensor_parallel(
        lambda shape, a, t: activations.sequence_parallel_selective_activation_bytes(
            **shape, tensor_ranks=t
        )
    ),
    "korthikanti-fig7-*-full": share_of_tensor_parallel(
        lambda shape, a, t: activations.full_recompute_activation_bytes(**shape)
    ),
    "korthikanti-tab5-*-mfu": utilization_with(operations.step_operations),
    "korthikanti-tab5-*-hfu": utilization_with(operations.step_operations_selective),
    "korthikanti-5as-h-*": lambda a, s, h: activations.score_term(heads=a, tokens=s, hidden=h),
    "korthikanti-saved-*": lambda a, s, h: activations.selective_saving(
        heads=a, tokens=s, hidden=h
    ),
    "korthikanti-flops-*": operations_added_by_selective,
    "megatron-parameters-*": lambda h, L, V, s: parameters.gpt_parameters(
        layers=L, hidden=h, vocabulary=V, tokens=s
    ),
    "megatron-aggregate-*": lambda n, tf: operations.aggregate_rate(devices=n, rate=tf * 1e12),
    "megatron-days-*": lambda T, P, n, X: operations.training_seconds(
        tokens=T, parameters=P, devices=n, rate=X
    ),
    "megatron-readme-share": lambda X, peak: operations.utilization(
        operations=X * 1e12, seconds=1, devices=1, peak_rate=peak * 1e12
    ),
    "vllm-opt13b-token": opt_token,
    "vllm-slots-*": opt_slots,
    "vllm-weights-13B": lambda P: inference_memory.weight_bytes(parameters=P),
    "flexgen-weights": lambda l, h1, h2: inference_memory.opt_weight_bytes(  # noqa: E741
        layers=l, hidden=h1, ffn=h2
    ),
    "flexgen-kv-ratio": flexgen_cache_over_weights,
    "llama2-70b-kv-token": lambda L, kv, d: inference_memory.kv_bytes_per_token(
        layers=L, kv_heads=kv, head_dim=d
    ),
    "llama31-70b-kv-*": llama_cache,
    "speculative-*-speed": lambda al, ga: speculative.speculative_speed(
        acceptance=al, drafted=ga, draft_cost=0
    ),
    "speculative-*-operations": lambda al, ga: speculative.speculative_operations(
        acceptance=al, drafted=ga, draft_operations=0
    ),
    "gpt3-flops": lambda N, D: operations.training_operations(parameters=N, tokens=D),
    "lora-gpt3-r*": lora_on_query_and_value,
    "qlora-constants": lambda b, b2: inference_memory.double_quantization_bits(
        group=b, second_group=b2
    ),
    "qlora-65b-full": lambda P: training_memory.model_state_bytes(
        state_bytes=12, parameters=P * 1e9
    ),
    "gptq-group-*": lambda b, g: inference_memory.quantized_bits(bits=b, group=g, zero_bits=b) - b,
    "gpipe-bubble": lambda K, M: pipeline.gpipe_idle_share(stages=K, micro_batches=M),
    "kipply-13b-decode-*": decode(16),
    "kipply-13b-prefill-1": lambda P, T, peak: duration.prefill_seconds(
        parameters=P, tokens=T, devices=1, peak_rate=peak
    ),
    "pope-palm540b-decode": decode(8),
}


def given_by_equations(row: dict[str, Any]) -> float:
    """What the equations give for the row, in its unit; each row has one way to be given."""
    [name] = [pattern for pattern in GIVEN_BY if fnmatch(row["id"], pattern)]
    return GIVEN_BY[name](**row["inputs"]) / UNITS[row["unit"]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_the_equations_give_what_is_published(row) -> None:
    value = given_by_equations(row)
    # The row's own formula, computed apart from the package.
    assert value == pytest.approx(row["computed"], rel=1e-5)
    if row["kind"] == "lower bound":
        assert value <= row["published"]
    else:
        assert value == pytest.approx(row["published"], rel=max(row["tolerance"], 1e-12))


def test_every_check_is_of_a_published_figure_with_its_source() -> None:
    assert not [name for name in GIVEN_BY if not any(fnmatch(row["id"], name) for row in ROWS)]
    for row in ROWS:
        assert row["source"]
        assert row["confidence"] in {"high", "medium", "low"}
        assert row["value_seen"] in {"retrieved", "partly", "memory"}
        assert row["publication"] is None or row["publication"] in PUBLICATIONS


each_equation = pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: equation.slug)


@each_equation
def test_an_equation_explains_each_symbol_of_its_formula(equation) -> None:
    arguments = inspect.signature(equation.function).parameters.values()
    assert {a.name for a in arguments} == {s.parameter for s in equation.symbols}
    assert {a.kind for a in arguments} == {inspect.Parameter.KEYWORD_ONLY}
    letters = [symbol.letter for symbol in equation.symbols]
    assert len(set(letters)) == len(letters)
    for letter in letters:
        assert re.search(rf"(?<!\w){re.escape(letter)}(?!\w)", superscripts_apart(equation.formula))
    for text in (equation.name, equation.unit, equation.holds, equation.fails, equation.meaning):
        assert text
    assert all(symbol.meaning for symbol in equation.symbols)


def superscripts_apart(formula: str) -> str:
    return formula.replace("²", "^2")


@each_equation
def test_an_equation_says_where_it_is_published(equation) -> None:
    assert equation.sources
    for source in equation.sources:
        assert source.place
        assert source.reference or source.publication in PUBLICATIONS


def test_names_are_unique() -> None:
    assert len({equation.slug for equation in EQUATIONS}) == len(EQUATIONS)
    assert len({equation.name for equation in EQUATIONS}) == len(EQUATIONS)


def documented(equation) -> str:
    """The equation's line in docs/equations.md."""
    published = "; ".join(
        f"{source.reference or f'`{source.publication}`'}, {source.place}"
        f"{' (from memory)' if source.from_memory else ''}"
        for source in equation.sources
    )
    cells = (equation.name, f"`{equation.slug}`", equation.formula, equation.unit, published)
    return f"| {' | '.join(cells)} |"


@each_equation
def test_the_document_has_a_line_for_the_equation(equation) -> None:
    assert documented(equation) in DOCUMENT.splitlines()


def test_the_document_has_no_equation_that_is_gone() -> None:
    lines = [line for line in DOCUMENT.splitlines() if re.match(r"\| .* \| `\w+` \| ", line)]
    assert len(lines) == len(EQUATIONS)


def differing() -> dict[str, str]:
    """By row, the beginning of its line: figures off by more than the rounding of their digits."""
    lines = {}
    for row in ROWS:
        value, published = given_by_equations(row), row["published"]
        decimals = len(str(published).partition(".")[2])
        if row["kind"] == "equality" and abs(value - published) > 0.5001 * 10**-decimals:
            lines[row["id"]] = f"| `{row['id']}` | {published} | {value:.6g} |"
    return lines


def test_the_document_lists_the_figures_that_differ_from_their_equation() -> None:
    listed = [line for line in DOCUMENT.splitlines() if re.match(r"\| `[\w.-]+` \| \d", line)]
    for line, expected in zip(listed, differing().values(), strict=True):
        assert line.startswith(expected)


# Shapes of the models' own configurations, with their parameters and bytes of cache for a token.
SHAPE = (
    *("layers", "hidden", "heads", "kv_heads", "head_dim", "ffn", "vocabulary"),
    *("embedding_matrices", "qkv_bias"),
)
MISTRAL = (32, 4096, 32, 8, 128, 14336, 32000, 2, 0)
MODELS = {
    "SmolLM2-135M": ((30, 576, 9, 3, 64, 1536, 49152, 1, 0), 134515008, 23040),
    "Llama-2-7B": ((32, 4096, 32, 32, 128, 11008, 32000, 2, 0), 6738415616, 524288),
    "Llama-3.1-70B": ((80, 8192, 64, 8, 128, 28672, 128256, 2, 0), 70553706496, 327680),
    "Mistral-7B-v0.1": (MISTRAL, 7241732096, 131072),
    "Qwen2.5-0.5B": ((24, 896, 14, 2, 64, 4864, 151936, 1, 1), 494032768, 12288),
}


@pytest.mark.parametrize("model", MODELS)
def test_parameters_and_cache_of_real_models(model) -> None:
    sizes, count, token_bytes = MODELS[model]
    shape = dict(zip(SHAPE, sizes, strict=True))
    assert parameters.decoder_parameters(**shape) == count
    cache = {key: shape[key] for key in ("layers", "kv_heads", "head_dim")}
    assert inference_memory.kv_bytes_per_token(**cache) == token_bytes


def test_parameters_of_a_real_model_with_experts() -> None:
    layer = {"layers": 32, "hidden": 4096, "ffn": 14336, "experts": 8}
    dense = parameters.decoder_parameters(**dict(zip(SHAPE, MISTRAL, strict=True)))
    assert experts.moe_parameters(parameters=dense, **layer) == 46702792704
    assert experts.active_parameters(parameters=dense, chosen=2, **layer) == 12879925248


@pytest.mark.parametrize(
    ("layers", "hidden", "count"),
    [(12, 768, 124439808), (48, 1600, 1557611200)],
    ids=["GPT-2", "GPT-2 XL"],
)
def test_parameters_of_real_gpts_but_for_the_last_norm(layers, hidden, count) -> None:
    found = parameters.gpt_parameters(layers=layers, hidden=hidden, vocabulary=50257, tokens=1024)
    assert found + 2 * hidden == count


def given(max_examples: int = 100, **drawn: Any) -> Callable[[Callable], Callable]:
    """Hypothesis's own, with as many examples."""
    how = hypothesis.settings(max_examples=max_examples)
    return lambda test: how(hypothesis.given(**drawn)(test))


counts = st.integers(1, 10_000)
few = st.integers(1, 64)
sizes = st.floats(1e-6, 1e12)
shares = st.floats(0, 1)


@given(P=sizes, N=counts, w=sizes, g=sizes, K=sizes)
def test_each_stage_of_zero_holds_no_more_than_the_one_before(P, N, w, g, K) -> None:
    held = [
        training_memory.zero_state_bytes(
            parameters=P, ranks=N, stage=z, weight_bytes=w, gradient_bytes=g, optimizer_bytes=K
        )
        for z in range(4)
    ]
    whole = training_memory.model_state_bytes(state_bytes=w + g + K, parameters=P)
    assert held[0] == pytest.approx(whole)
    assert held == sorted(held, reverse=True)
    assert N * held[3] == pytest.approx(whole)
    if N == 1:
        assert held == pytest.approx([whole] * 4)


@given(s=few, b=few, h=counts, a=few, t=few)
def test_split_activations_add_up_to_the_whole(s, b, h, a, t) -> None:
    shape = {"tokens": s * t, "batch": b, "hidden": h}
    heads = a * t
    whole = activations.layer_activation_bytes(**shape, heads=heads)
    split = activations.tensor_parallel_activation_bytes(**shape, heads=heads, tensor_ranks=t)
    shared = activations.sequence_parallel_activation_bytes(**shape, heads=heads, tensor_ranks=t)
    assert t * shared == pytest.approx(whole)
    assert shared <= split * (1 + 1e-12)
    assert split <= whole * (1 + 1e-12)
    # What selective recomputation keeps is what it does not save.
    kept = activations.sequence_parallel_selective_activation_bytes(**shape, tensor_ranks=t)
    saved = activations.selective_saving(heads=heads, tokens=s * t, hidden=h)
    assert kept == pytest.approx(shared * (1 - saved))
    assert activations.full_recompute_activation_bytes(**shape) < t * kept


def test_scores_of_a_large_vocabulary_take_gigabytes() -> None:
    shape = {"tokens": 8192, "batch": 1, "vocabulary": 128256}
    assert activations.logit_bytes(**shape, tensor_ranks=1) == 4_202_692_608
    assert activations.logit_bytes(**shape, tensor_ranks=8) == 525_336_576


@given(b=few, L=few, s=counts, h=counts, V=counts)
def test_a_step_is_three_forward_passes_and_recomputing_a_fourth(b, L, s, h, V) -> None:
    shape = {"batch": b, "layers": L, "tokens": s, "hidden": h, "vocabulary": V}
    forward = operations.forward_operations_of_shape(**shape)
    step = operations.step_operations(**shape)
    selective = operations.step_operations_selective(**shape)
    full = operations.step_operations_full(**shape)
    scores = 2 * b * s * h * V
    assert step == 3 * forward
    assert full == 4 * forward - scores
    assert step < selective < 2 * step


@given(P=sizes, D=sizes)
def test_training_is_three_forward_passes(P, D) -> None:
    forward = operations.forward_operations(parameters=P, tokens=D)
    assert operations.training_operations(parameters=P, tokens=D) == pytest.approx(3 * forward)


@given(L=few, k=few, d=few, b=few, s=counts, w=counts)
def test_a_window_bounds_the_cache(L, k, d, b, s, w) -> None:
    shape = {"layers": L, "kv_heads": k, "head_dim": d, "sequences": b, "tokens": s}
    whole = inference_memory.kv_cache_bytes(**shape)
    windowed = inference_memory.kv_cache_bytes(**shape, window=w)
    assert windowed == (whole if w >= s else whole * w / s)
    token = inference_memory.kv_bytes_per_token(layers=L, kv_heads=k, head_dim=d)
    capacity = inference_memory.cache_capacity(memory_bytes=whole, token_bytes=token)
    assert capacity == pytest.approx(b * s)


@given(s=counts, block=counts)
def test_a_paged_cache_wastes_less_than_a_block(s, block) -> None:
    slots = inference_memory.paged_slots(tokens=s, block=block)
    assert slots % block == 0
    assert 0 <= slots - s < block


@given(bits=st.integers(1, 16), group=counts)
def test_groups_cost_bits_and_large_groups_cost_few(bits, group) -> None:
    small = inference_memory.quantized_bits(bits=bits, group=group)
    large = inference_memory.quantized_bits(bits=bits, group=2 * group)
    assert bits < large < small
    assert small - bits == pytest.approx(2 * (large - bits))


def test_double_quantization_saves_what_qlora_says() -> None:
    plain = inference_memory.quantized_bits(bits=4, group=64, scale_bits=32) - 4
    assert plain == 0.5
    assert plain - inference_memory.double_quantization_bits() == pytest.approx(0.373, abs=5e-4)


@given(d=st.integers(1, 256), tiles=st.integers(1, 64), a=few)
def test_tiles_read_the_less_the_more_fits_into_fast_memory(d, tiles, a) -> None:
    n = d * tiles
    fits = activations.tiled_attention_accesses(tokens=n, head_dim=d, fast_numbers=n * d)
    # All keys and values fit: everything is read once.
    assert fits == pytest.approx(n * d)
    least = activations.tiled_attention_accesses(tokens=n, head_dim=d, fast_numbers=d)
    assert least == n * n * d
    assert activations.naive_attention_accesses(tokens=n, head_dim=d) == n * d + n * n
    tile = activations.score_tile_bytes(query_rows=n, key_columns=n, number_bytes=2)
    scores = {"batch": 1, "heads": a, "tokens": n, "number_bytes": 2}
    assert a * tile == activations.score_matrix_bytes(**scores)


@given(N=counts, S=sizes, rate=sizes)
def test_an_all_reduce_is_a_scatter_and_a_gather(N, S, rate) -> None:
    sent = communication.all_reduce_bytes(ranks=N, payload_bytes=S)
    assert sent == 2 * communication.gather_bytes(ranks=N, payload_bytes=S)
    assert sent == 2 * communication.all_to_all_bytes(ranks=N, payload_bytes=S)
    assert (sent == 0) == (N == 1)
    assert sent < 2 * S
    seconds = communication.all_reduce_seconds(
        ranks=N, payload_bytes=S, latency_seconds=0, link_rate=rate
    )
    assert seconds == pytest.approx(sent / rate)


@given(t=few, s=few, b=few, h=counts)
def test_tensor_parallelism_sends_what_megatron_counts(t, s, b, h) -> None:
    sent = communication.tensor_parallel_bytes(tensor_ranks=t, tokens=s, batch=b, hidden=h)
    assert sent / 2 == pytest.approx(8 * b * s * h * (t - 1) / t)
    message = communication.tensor_parallel_message_bytes(tokens=s, batch=b, hidden=h)
    assert message == communication.boundary_bytes(tokens=s, batch=b, hidden=h)


@given(P=sizes)
def test_stage_three_sends_half_as_much_again(P) -> None:
    sent = [communication.data_parallel_numbers(parameters=P, stage=z) for z in range(4)]
    assert sent == [2 * P, 2 * P, 2 * P, 3 * P]


@given(p=few, rounds=few, v=few)
def test_interleaving_waits_less_and_keeps_more(p, rounds, v) -> None:
    m = p * rounds
    plain = pipeline.one_f_one_b_idle_share(stages=p, micro_batches=m)
    interleaved = pipeline.interleaved_idle_share(stages=p, micro_batches=m, chunks=v)
    assert interleaved <= plain
    assert plain == pipeline.gpipe_idle_share(stages=p, micro_batches=m)
    assert plain == pipeline.interleaved_idle_share(stages=p, micro_batches=m, chunks=1)
    kept = [
        pipeline.interleaved_live(stages=p, micro_batches=m, chunks=v, rank=r) / v for r in range(p)
    ]
    assert kept == sorted(kept, reverse=True)
    # Korthikanti's factor for the first rank, where enough micro-batches fill the pipeline.
    if rounds >= 2:
        first = activations.first_stage_activation_bytes(
            layers=p, layer_bytes=1, stages=p, chunks=v
        )
        assert kept[0] == pytest.approx(first)


@given(p=few, m=counts)
def test_what_1f1b_keeps_lies_between_one_micro_batch_and_gpipe(p, m) -> None:
    kept = [pipeline.one_f_one_b_live(stages=p, micro_batches=m, rank=r) for r in range(p)]
    assert kept[-1] == 1
    assert kept[0] == min(p, pipeline.gpipe_live(micro_batches=m))
    if m >= p:
        assert sum(kept) == p * (p + 1) // 2


def replayed_idle_share(stages: int, micro_batches: int) -> float:
    """The idle share of GPipe, from when each stage can begin each micro-batch."""
    ends = [0] * micro_batches
    for _ in range(stages):
        free = 0
        for i in range(micro_batches):
            free = max(free, ends[i]) + 1
            ends[i] = free
    return 1 - micro_batches / ends[-1]


@given(p=few, m=few)
def test_the_idle_share_is_that_of_a_replayed_schedule(p, m) -> None:
    share = pipeline.gpipe_idle_share(stages=p, micro_batches=m)
    assert share == pytest.approx(replayed_idle_share(p, m))


@given(p=few, m=counts, forward=sizes, backward=sizes, weights=sizes)
def test_gradients_that_wait_fill_idle_slots(p, m, forward, backward, weights) -> None:
    assume(2 * weights <= (forward + backward) * (1 - 1e-9))
    times = {
        "stages": p,
        "micro_batches": m,
        "forward_seconds": forward,
        "input_seconds": backward,
        "weight_seconds": weights,
    }
    plain = pipeline.one_f_one_b_idle_share(stages=p, micro_batches=m)
    half, whole = pipeline.zb_h1_idle_share(**times), pipeline.zb_h2_idle_share(**times)
    assert 0 <= whole <= half <= plain + 1e-12


def test_equal_passes_leave_a_third_of_the_bubble_and_then_none() -> None:
    times = {"forward_seconds": 1, "input_seconds": 1, "weight_seconds": 1}
    shape = {"stages": 4, "micro_batches": 16}
    # As in the paper's comparison: (p - 1)/(3·m) of the ideal time.
    share = pipeline.zb_h1_idle_share(**shape, **times)
    assert share / (1 - share) == pytest.approx(3 / (3 * 16))
    assert pipeline.zb_h2_idle_share(**shape, **times) == 0
    # Three times a slot that gradients of weights, which are short, leave idle twice.
    short = {"forward_seconds": 2, "input_seconds": 2, "weight_seconds": 1}
    left = pipeline.zb_h2_idle_share(**shape, **short)
    assert left / (1 - left) == pytest.approx(3 * 2 / (16 * 5))


@given(half=few, n=few)
def test_two_directions_wait_as_one_of_half_the_depth(half, n) -> None:
    share = pipeline.chimera_idle_share(stages=2 * half, micro_batches=2 * n)
    assert share == pipeline.gpipe_idle_share(stages=half, micro_batches=2 * n)


@given(alpha=shares, gamma=st.integers(0, 50), c=st.floats(0, 1, allow_subnormal=False))
def test_tokens_of_a_speculative_step(alpha, gamma, c) -> None:
    assume(c == 0 or c > 1e-6)
    tokens = speculative.expected_tokens(acceptance=alpha, drafted=gamma)
    # The chain of acceptances, added up.
    assert tokens == pytest.approx(math.fsum(alpha**i for i in range(gamma + 1)), rel=1e-6)
    speed = speculative.speculative_speed(acceptance=alpha, drafted=gamma, draft_cost=c)
    assert speed <= tokens
    cost = speculative.speculative_operations(acceptance=alpha, drafted=gamma, draft_operations=c)
    assert cost >= 1 - 1e-9


def test_the_ends_of_acceptance() -> None:
    for gamma in range(10):
        assert speculative.expected_tokens(acceptance=0, drafted=gamma) == 1
        assert speculative.expected_tokens(acceptance=1, drafted=gamma) == gamma + 1
        near = speculative.expected_tokens(acceptance=1 - 1e-9, drafted=gamma)
        assert near == pytest.approx(gamma + 1, rel=1e-6)


@given(E=few, data=st.data())
def test_a_batch_reads_from_its_own_experts_up_to_all(E, data) -> None:
    K = data.draw(st.integers(1, E))
    one = experts.distinct_experts(experts=E, chosen=K, batch=1)
    many = experts.distinct_experts(experts=E, chosen=K, batch=10_000)
    assert one == pytest.approx(K)
    assert many == pytest.approx(E)
    places = experts.expert_capacity(capacity_factor=1, chosen=K, routed_tokens=100, experts=E)
    assert places * E == pytest.approx(K * 100)


@given(r=few, d_in=counts, d_out=counts, n=few)
def test_adapters_add_up_and_merge_for_less_than_a_batch_of_products(r, d_in, d_out, n) -> None:
    shape = {"rank": r, "inputs": d_in, "outputs": d_out}
    one = parameters.lora_parameters(matrices=1, **shape)
    assert parameters.lora_parameters(matrices=n, **shape) == n * one
    # As many operations as r tokens take in the matrix itself.
    product = operations.forward_operations(parameters=d_in * d_out, tokens=r)
    assert parameters.lora_merge_operations(**shape) == product


@given(W=sizes, C=sizes, P=sizes, b=counts, n=few, beta=sizes, pi=sizes)
def test_a_decoding_step_waits_for_memory_or_for_arithmetic(W, C, P, b, n, beta, pi) -> None:
    seconds = duration.decode_seconds(
        weight_bytes=W,
        cache_bytes=C,
        parameters=P,
        batch=b,
        devices=n,
        bandwidth=beta,
        peak_rate=pi,
    )
    memory = duration.read_seconds(read_bytes=W + C, devices=n, bandwidth=beta)
    arithmetic = duration.prefill_seconds(parameters=P, tokens=b, devices=n, peak_rate=pi)
    assert seconds == max(memory, arithmetic)
    # The roofline says the same of its rate.
    work, intensity = 2 * P * b, 2 * P * b / (W + C)
    assume(1e-30 < intensity < 1e30)
    rate = duration.attainable_rate(peak_rate=pi, intensity=intensity, bandwidth=beta)
    assert work / (n * rate) == pytest.approx(seconds)
    above = intensity >= duration.ridge(peak_rate=pi, bandwidth=beta)
    assert above == (rate == pi)


@given(times=st.tuples(*[st.floats(0, 1e6).filter(lambda x: x == 0 or x > 1e-6)] * 5), l=few, n=few)
def test_offloading_takes_the_longest_of_what_overlaps(times, l, n) -> None:  # noqa: E741
    names = ("to_gpu", "from_gpu", "from_disk", "to_disk", "compute")
    layer = duration.offloaded_layer_seconds(**dict(zip(names, times, strict=True)))
    assert layer == max(times)
    block = duration.offloaded_block_seconds(
        prefill_seconds=layer, decode_seconds=layer, layers=l, generated=n
    )
    assert block == pytest.approx(l * n * layer)


@given(save=st.floats(0.01, 100), ratio=st.floats(20, 1e5))
def test_no_other_interval_wastes_notably_less_than_dalys(save, ratio) -> None:
    failure = save * ratio

    def expected(interval: float) -> float:
        return duration.expected_seconds(
            failure_seconds=failure,
            restart_seconds=0,
            interval_seconds=interval,
            save_seconds=save,
            work_seconds=1000 * failure,
        )

    daly = duration.daly_interval(save_seconds=save, failure_seconds=failure)
    young = duration.young_interval(save_seconds=save, failure_seconds=failure)
    assert expected(daly) <= expected(young) * (1 + 1e-9)
    others = (expected(daly * (0.5 + i / 50)) for i in range(100))
    assert min(others) >= expected(daly) * (1 - 1e-3)


def test_saving_takes_five_minutes_and_a_day_passes_between_failures() -> None:
    assert duration.young_interval(save_seconds=300, failure_seconds=86400) == 7200


def test_dalys_interval_has_his_higher_orders_and_ends_where_saving_takes_too_long() -> None:
    # √(2·18·100) = 60, and 18/(2·100) is 0.3².
    higher = duration.daly_interval(save_seconds=18, failure_seconds=100)
    assert higher == pytest.approx(60 * (1 + 0.3 / 3 + 0.09 / 9) - 18)
    assert duration.daly_interval(save_seconds=2, failure_seconds=1) == 1
    assert duration.daly_interval(save_seconds=1.5, failure_seconds=1) < 1


def test_the_host_holds_as_much_as_for_four_devices_where_there_are_fewer() -> None:
    held = [training_memory.zero3_host_bytes(parameters=1e9, devices=n) for n in (1, 4, 5)]
    assert held == [24e9, 24e9, 30e9]


def replayed_seconds(failure: float, restart: float, attempt: float, attempts: int) -> float:
    """How long attempts take in which failures come at random, each followed by a restart."""
    random = Random(0)
    elapsed, done, lost = 0.0, 0, 0.0
    while done < attempts:
        lasts = random.expovariate(1 / failure)
        succeeds = lasts >= lost + attempt
        elapsed += lost + attempt if succeeds else lasts
        done, lost = done + succeeds, 0.0 if succeeds else restart
    return elapsed


@pytest.mark.parametrize(("failure", "restart"), [(50, 0), (50, 5), (10, 5), (1e9, 5)])
def test_the_time_of_work_with_failures_is_that_of_a_replay(failure, restart) -> None:
    expected = duration.expected_seconds(
        failure_seconds=failure,
        restart_seconds=restart,
        interval_seconds=8,
        save_seconds=2,
        work_seconds=8 * 40_000,
    )
    replayed = replayed_seconds(failure, restart, attempt=10, attempts=40_000)
    assert expected == pytest.approx(replayed, rel=0.02 if failure < 1e9 else 1e-6)


def test_work_that_never_survives_takes_for_ever() -> None:
    times = {"restart_seconds": 0, "save_seconds": 1, "work_seconds": 1e6}
    assert duration.expected_seconds(failure_seconds=1, interval_seconds=1e6, **times) == math.inf
    assert duration.daly_interval(save_seconds=3, failure_seconds=1) == 1


def typical(equation) -> dict[str, Any]:
    """Values that the equation accepts: 2 wherever it may be, so that it divides and is even."""
    values = {symbol.parameter: 2 for symbol in equation.symbols}
    for symbol in equation.symbols:
        if not symbol.domain.holds(2):
            values[symbol.parameter] = 1
    return values | ({"rank": 1} if equation.subject == "pipeline" and "rank" in values else {})


HOSTILE = (-1, float("nan"), float("inf"), 10**400, -(10**5000), True, "2", "\x00" * 99, [2], 1e300)


@each_equation
def test_a_symbol_that_is_not_sound_is_named(equation) -> None:
    assert math.isfinite(equation(**typical(equation)))
    for symbol in equation.symbols:
        for value in HOSTILE:
            with pytest.raises(ValueError, match=f"^{re.escape(symbol.letter)}, ") as raised:
                equation(**{**typical(equation), symbol.parameter: value})
            assert len(str(raised.value)) < 200


@each_equation
@given(data=st.data(), max_examples=15)
def test_the_ends_of_what_is_allowed_never_break_an_equation(equation, data) -> None:
    ends = (0, 0.0, 1e-30, 1, 2, 7, 10**30, 1e30, None)
    values = {
        symbol.parameter: data.draw(st.sampled_from(list(filter(symbol.domain.holds, ends))))
        for symbol in equation.symbols
    }
    with contextlib.suppress(ValueError):  # symbols that do not fit together
        assert equation(**values) >= 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: activations.tensor_parallel_activation_bytes(
                tokens=8, batch=1, hidden=8, heads=9, tensor_ranks=2
            ),
            "t, ranks that split each layer: 2 does not divide a = 9",
        ),
        (
            lambda: activations.sequence_parallel_selective_activation_bytes(
                tokens=7, batch=1, hidden=8, tensor_ranks=2
            ),
            "t, .*: 2 does not divide s = 7",
        ),
        (
            lambda: activations.tiled_attention_accesses(tokens=8, head_dim=4, fast_numbers=3),
            "M, .*: 3 is not from d = 4 to N·d",
        ),
        (
            lambda: pipeline.interleaved_idle_share(stages=4, micro_batches=6, chunks=2),
            "p, .*: 4 does not divide m = 6",
        ),
        (
            lambda: pipeline.one_f_one_b_live(stages=4, micro_batches=6, rank=4),
            "r, .*: 4 is not below p = 4",
        ),
        (
            lambda: pipeline.chimera_idle_share(stages=3, micro_batches=4),
            "D, .*: 3 is odd",
        ),
        (
            lambda: pipeline.zb_h2_idle_share(
                stages=4, micro_batches=8, forward_seconds=1, input_seconds=1, weight_seconds=2
            ),
            "T_W, .*: 2 is longer than the slots",
        ),
        (
            lambda: experts.distinct_experts(experts=8, chosen=9, batch=1),
            "K, .*: 9 is above E = 8",
        ),
    ],
)
def test_symbols_that_do_not_fit_together_are_named(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()
