"""A model whose layers multiply packed weights is the model with these weights, and decodes so."""

import copy
from typing import cast

import pytest
import torch
from torch import nn

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Setup
from casestudies.lab.generate.continuation import continued
from casestudies.lab.kernels import few_bits
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import Block, Config, LanguageModel
from casestudies.lab.quantize.quantized import Format
from casestudies.lab.report import Report
from casestudies.lab.result import MeasuredEvent
from casestudies.lab.studies.quantization.about import QuantizationParameters
from casestudies.lab.studies.quantization.on_gpu import decoding, packed_model
from tests.lab.declared import measured, on_a_gpu

CONFIG = Config(61, 16, 72, 2, 2, 1, 10_000.0, 1e-5)
FORM = Format(4, 64)


def made(**given) -> LanguageModel:
    """Return a tiny model, in whatever shape it is asked for."""
    model = shapes.with_random_weights(CONFIG, torch.Generator().manual_seed(0))
    return model.to(given.get("dtype", torch.float32)).requires_grad_(False)


def unpacked(model: LanguageModel) -> LanguageModel:
    """Return a copy of a packed model whose layers have the unpacked weights."""
    found = copy.deepcopy(model)
    for block in found.blocks:
        for name, layer in block.named_children():
            if isinstance(layer, packed_model.PackedLinear):
                weights = layer.weights.weights()
                linear = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
                linear.weight = nn.Parameter(weights, requires_grad=False)
                setattr(block, name, linear)
    return found


def test_its_logits_are_those_of_the_unpacked_weights() -> None:
    model, tokens = packed_model.pack(made(), FORM), torch.arange(18).view(2, 9) * 7 % 61
    plain = unpacked(model)
    assert len(plain.linears()) == 14
    torch.testing.assert_close(model(tokens), plain(tokens), rtol=1e-4, atol=1e-5)
    assert (plain(tokens) - made()(tokens)).abs().max() > 0.01  # 4 bits are not what they were
    # Embedding and head are as they were.
    assert torch.equal(model.embedding.weight, made().embedding.weight)


def test_the_loop_decodes_the_tokens_that_follow_its_context_each_time() -> None:
    model = packed_model.pack(made(), FORM)
    decode = decoding.decoding(model, context=7, tokens=3)
    plain = list(continued(unpacked(model), decoding.prompt(model, 7), 4))
    for _ in range(2):
        assert torch.equal(decode(), torch.cat(plain[1:], dim=1))


@pytest.mark.parametrize("right", [True, False])
def test_layers_are_held_against_float64_on_what_they_read_before_all_is_timed(
    right, monkeypatch
) -> None:
    if not right:
        exact = few_bits.product
        # Of one layer alone: the widest inside.
        monkeypatch.setattr(
            few_bits,
            "product",
            lambda x, w: exact(x, w) * (1.002 if w.columns == CONFIG.feed_forward else 1),
        )
    monkeypatch.setattr(decoding.shapes, "of_shape", made)
    monkeypatch.setattr(decoding, "CONTEXT", 5)
    monkeypatch.setattr(decoding, "TOKENS", 1)
    monkeypatch.setattr(decoding, "why_not", lambda device: "")
    monkeypatch.setattr(decoding, "lacking_memory", lambda device, gib: "")
    events: list = []
    report = Report(STUDIES["quantization"], events.append)
    parameters = QuantizationParameters(blocks=1, rounds=2)
    decoding.report_decoding(parameters, Setup(device="cpu", seed=0), report)
    found = [(e.metric, e.variant) for e in events if isinstance(e, MeasuredEvent)]
    timed = [
        ("tokens per second", "float16"),
        ("tokens per second", "int4 kernel"),
        ("speed-up", "int4 kernel"),
    ]
    assert found == [("equality error", "int4 kernel"), *(timed if right else [])]
    if right:
        in_float16, in_4_bits, speed = (row.value for row in report.measurements[1:])
        assert 0 < in_4_bits < in_float16  # an interpreter's kernel is slow
        assert 0 < speed < 1


def test_a_layer_is_held_against_float64_on_what_it_reads_in_the_model() -> None:
    model, tokens = packed_model.pack(made(), FORM), torch.tensor([[5, 9]])
    read: list = []
    second = cast(Block, model.blocks[1])
    second.down.register_forward_pre_hook(lambda layer, given: read.append(given[0]))
    model(tokens)
    assert packed_model.apart(model, tokens) < 1e-5
    assert len(read) > 1
    assert all(torch.equal(found, read[0]) for found in read)


def test_without_a_gpu_that_holds_it_no_model_decodes(monkeypatch) -> None:
    events: list = []
    report, setup = Report(STUDIES["quantization"], events.append), Setup(device="cpu", seed=0)
    decoding.report_decoding(QuantizationParameters(), setup, report)
    monkeypatch.setattr(decoding, "why_not", lambda device: "")
    monkeypatch.setattr(decoding, "lacking_memory", lambda device, gib: f"that needs {gib} GiB")
    decoding.report_decoding(QuantizationParameters(), setup, report)
    assert [event.text for event in events] == [
        "No model decoded with packed weights: needs a GPU",
        "No model decoded with packed weights: that needs 20 GiB",
    ]
    # Both models' bytes: 6.5 billion weights in blocks in 16 bits and in 4.16, and twice 0.26.
    weights = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    at_least = (weights * (2 + 4.16 / 8) + 2 * 2 * 2 * 32_000 * 4096) / 2**30
    assert at_least < 20


@pytest.mark.parametrize(("speed", "status"), [
    (9.0, "direction agrees"), (1.7, "direction agrees"), (1.69, "not reproduced"),
])  # fmt: skip
def test_tokens_a_second_never_support_the_claim(speed, status) -> None:
    study, claim = STUDIES["quantization"], "lin2023awq-2"
    where = {"model": "Llama-2-7B", "part": "whole model"}
    on_cpu = measured(study, [("speed-up", "int4 kernel", speed, where)])
    assert study.judge(on_cpu)[claim].reason == "needs a GPU"
    assert study.judge(on_a_gpu(on_cpu))[claim].status == status
