"""How a run speaks to the claims, each by the rule that stands with it in the fixtures."""

from collections.abc import Callable
from typing import Any

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.quantize.declared import hours_for_175b
from casestudies.lab.result import Result

PRETRAINED, TRAINED = "pretrained", "trained"
LINEAR, WHOLE, BOTH = "linear layers", "whole model", "weights and activations"
WHOLE_ROWS = "whole rows"
FLEXGEN = "4-bit weights and cache"
QUANTIZATION_TIME = "OPT-175B quantization time"
LLAMA = "Llama-2-7B"
REORDERING = "reordering cost"
LOOKED_UP, GATHERED = "groups looked up", "inputs gathered"
FUSED = "float16 fused"

OPT_30B, BERT_BASE, GPT3_350M = "OPT-30B block", "BERT-base", "GPT-3 350M"
OPT_TOKENS, TEXT = 512, 128  # tokens of a text
BATCHES = (1, 2, 4, 8, 16, 32, 64)  # texts

EIGHT_GPUS = 8 * 80e9  # bytes
MT_NLG = 530e9  # parameters
THRESHOLD = 6.0
LEAST_STEPS = 100  # after fewer the model says little more than how often a token occurs

NEEDS_A_GPU = not_run("needs a GPU")
OTHER_THRESHOLD = not_run("this run had another threshold; the rule asks for 6.0")
SOME_BLOCKS = not_run("this run rounded only some of the model’s blocks")
HARDLY_TRAINED = not_run(f"the model of this run was trained for fewer than {LEAST_STEPS} steps")


def faster_in_three_bits(least: float) -> Callable[[Result], Judgement]:
    """Return how GPTQ's claims 1 and 2 stand: one token's products are so many times as fast."""

    def judge(result: Result) -> Judgement:
        if result.environment.device == "cpu":
            return NEEDS_A_GPU
        speed = result.value("kernel speed", "int3 kernel", model="OPT-175B", tokens=1)
        number = Number("time in float16 over that of packed 3-bit weights", speed, "x")
        return judged(number, agrees=speed >= least)

    return judge


def faster_in_four_bits(result: Result) -> Judgement:
    """AWQ, claim 1: a 4-bit kernel beside the library's product in float16."""
    if result.environment.device == "cpu":
        return NEEDS_A_GPU
    speed = result.value("kernel speed", "int4 kernel", model=LLAMA, tokens=1)
    return judged(
        Number("time in float16 over that of 4-bit weights", speed, "x", claimed=True),
        supported=speed >= 1.85,
        agrees=speed >= 1.2,
    )


def without_reordering(result: Result) -> Judgement:
    """AWQ, claim 0: a 4-bit kernel beside one that looks up each column's group, as GPTQ's does."""
    if result.environment.device == "cpu":
        return NEEDS_A_GPU
    looked_up, gathered = (
        result.value(REORDERING, way, model=LLAMA, tokens=1) for way in (LOOKED_UP, GATHERED)
    )
    return judged(
        Number("time with groups looked up over that in order", looked_up, "x", claimed=True),
        Number("time with inputs gathered first over that in order", gathered, "x"),
        supported=looked_up >= 1.45,
        agrees=looked_up >= 1.1,
    )


def decodes_faster(result: Result) -> Judgement:
    """AWQ, claim 2: tokens a second with weights in 4 bits beside float16, in the same loop."""
    if result.environment.device == "cpu":
        return NEEDS_A_GPU
    speed = result.value("speed-up", "int4 kernel", model=LLAMA, part=WHOLE)
    number = Number("tokens a second in 4 bits over those in float16", speed, "x", claimed=True)
    return judged(number, agrees=speed >= 1.7)


def faster_block(result: Result) -> Judgement:
    """SmoothQuant, claim 0: a block in int8 with scales known before, beside it in float16."""
    if result.environment.device == "cpu":
        return NEEDS_A_GPU
    speed = result.value("speed over fused", "SmoothQuant", model=OPT_30B, tokens=OPT_TOKENS)
    number = Number("time of a block in float16 over that in int8, both fused", speed, "x")
    return judged(number, agrees=speed >= 1.2)


def faster_model(model: str, least: float) -> Callable[[Result], Judgement]:
    """Return how ZeroQuant's claims 0 and 1 stand: fused int8 beside eager float16."""

    def judge(result: Result) -> Judgement:
        if result.environment.device == "cpu":
            return NEEDS_A_GPU

        def speed(variant: str, batch: int) -> float:
            settings = {"model": model, "tokens": batch * TEXT}
            return result.value("speed over eager", variant, **settings)

        speeds = {batch: speed("W8A8 per token", batch) for batch in BATCHES}
        best = max(BATCHES, key=speeds.__getitem__)
        eager = "time in float16 eager over that in"
        return judged(
            Number(f"{eager} int8, batch {best}", speeds[best], "x", claimed=True),
            Number(f"{eager} float16 fused, batch {best}", speed(FUSED, best), "x"),
            supported=speeds[best] >= least,
            agrees=speeds[best] >= 1.5,
        )

    return judge


def halved_memory(result: Result) -> Judgement:
    """LLM.int8(), claim 0: 8 bits take half of what 16 take."""
    linear = 16 / _bits_of_rows(result)
    whole = _ratio(result, "bfloat16", "rounded", model="OPT-175B", part=WHOLE)
    return judged(
        Number("linear layers of the model that ran", linear, "x", claimed=True),
        Number("whole model at OPT-175B’s shape", whole, "x", claimed=True),
        supported=linear >= 1.9 and whole >= 1.9,
        agrees=linear >= 1.9,
    )


def products_in_int8(result: Result) -> Judgement:
    """LLM.int8(), claim 1: more than 99.9 % of values are multiplied in 8 bits."""
    if result.parameters["threshold"] != THRESHOLD:
        return OTHER_THRESHOLD
    if result.parameters["blocks"]:
        return SOME_BLOCKS
    share = result.value("products in 8 bits", "LLM.int8()")
    ratio = result.value("perplexity over 16 bits", "LLM.int8()")
    return judged(
        Number("multiply-adds in int8", share, "%", claimed=True),
        Number("perplexity over 16 bits", ratio, "x"),
        agrees=share >= 99 and ratio <= 1.01,
    )


def no_degradation(result: Result) -> Judgement:
    """LLM.int8(), claim 2: with outliers apart nothing is lost."""
    if result.parameters["threshold"] != THRESHOLD:
        return OTHER_THRESHOLD
    if result.parameters["blocks"]:
        return SOME_BLOCKS
    apart, without = (
        result.value("perplexity over 16 bits", variant)
        for variant in ("LLM.int8()", "W8A8 per token")
    )
    return judged(
        Number("perplexity over 16 bits, outliers apart", apart, "x"),
        Number("perplexity over 16 bits, outliers rounded", without, "x"),
        agrees=apart <= 1.01 and apart <= without,
    )


def smooth_memory(result: Result) -> Judgement:
    """SmoothQuant, claim 1: weights and activations in half the memory."""
    if result.parameters["blocks"]:
        return SOME_BLOCKS
    sizes = _ratio(result, "bfloat16", "SmoothQuant", model=PRETRAINED, part=BOTH)
    perplexity = result.value("perplexity over 16 bits", "SmoothQuant")
    return judged(
        Number("bytes in 16 bits over those in 8", sizes, "x", claimed=True),
        Number("perplexity over 16 bits", perplexity, "x"),
        supported=sizes >= 1.9 and perplexity <= 1.02,
        agrees=sizes >= 1.9,
    )


def one_node(result: Result) -> Judgement:
    """SmoothQuant, claim 2: 530 billion parameters on eight GPUs of 80 GB."""
    eight = MT_NLG * _bits_of_rows(result) / 8
    sixteen = MT_NLG * 2
    return judged(
        Number("530 billion parameters in 8 bits", eight / 1e9, "GB"),
        Number("in 16 bits", sixteen / 1e9, "GB"),
        Number("eight GPUs of 80 GB", EIGHT_GPUS / 1e9, "GB"),
        supported=eight <= 600e9 and sixteen > EIGHT_GPUS,
        agrees=eight <= EIGHT_GPUS,
    )


def a_third_of_the_memory(result: Result) -> Judgement:
    """ZeroQuant, claim 2: 4 bits where layers are fully connected and 8 in attention."""
    ratio = _ratio(result, "bfloat16", "8 and 4 bits", model=GPT3_350M, part=LINEAR)
    return judged(
        Number("bytes in 16 bits over those in 4 and 8", ratio, "x", claimed=True),
        supported=2.7 <= ratio <= 3.1,
        agrees=ratio >= 2,
    )


def binary_codes(result: Result) -> Judgement:
    """AlphaTuning, claim 0: more than ten times smaller than in float32."""
    names = ("GPT-2 medium", "OPT-1.3B")
    layers, whole = (
        [_ratio(result, "float32", "binary codes", model=name, part=part) for name in names]
        for part in (LINEAR, WHOLE)
    )
    return judged(
        Number(f"linear layers, {names[0]}", layers[0], "x"),
        Number(f"linear layers, {names[1]}", layers[1], "x"),
        Number(f"whole model, {names[0]}", whole[0], "x", claimed=True),
        Number(f"whole model, {names[1]}", whole[1], "x", claimed=True),
        supported=min(layers) > 10,
        agrees=min(layers) >= 6,
    )


def weights_and_cache(result: Result) -> Judgement:
    """FlexGen, claim 2: weights and cache in 4 bits at little loss."""
    if result.whole("steps") < LEAST_STEPS:
        return HARDLY_TRAINED
    ratio = result.value("perplexity over 16 bits", FLEXGEN)
    bits = result.value("bits per weight", FLEXGEN)
    return judged(
        Number("perplexity over 16 bits", ratio, "x"),
        Number("bits per weight with scales", bits, "bits", claimed=True),
        agrees=ratio <= 1.05 and bits <= 4.6,
    )


def _ratio(result: Result, above: str, below: str, **settings: Any) -> float:
    return result.value("stored size", above, **settings) / result.value(
        "stored size", below, **settings
    )


def _bits_of_rows(result: Result) -> float:
    named = {"model": PRETRAINED, "bits": 8, "group": WHOLE_ROWS}
    return result.value("bits per weight", "rounded", **named)


ANSWERS = (
    Answer("frantar2022gptq-0", "25d1aa88ddea", hours_for_175b(QUANTIZATION_TIME, "gptq")),
    Answer("frantar2022gptq-1", "86a032ed69c4", faster_in_three_bits(1.6)),
    Answer("frantar2022gptq-2", "5b7202b6fab3", faster_in_three_bits(2.2)),
    Answer("dettmers2022llmint8-0", "1a4399df7203", halved_memory),
    Answer("dettmers2022llmint8-1", "1b09e62f17c9", products_in_int8),
    Answer("dettmers2022llmint8-2", "d45befc6df79", no_degradation),
    Answer("xiao2022smoothquant-0", "b757159f8b7c", faster_block),
    Answer("xiao2022smoothquant-1", "4796a8123512", smooth_memory),
    Answer("xiao2022smoothquant-2", "bbe22c8b9b46", one_node),
    Answer("lin2023awq-0", "1cad486539c6", without_reordering),
    Answer("lin2023awq-1", "c5c7ed917bee", faster_in_four_bits),
    Answer("lin2023awq-2", "8ba1b928a0e6", decodes_faster),
    Answer("yao2022zeroquant-0", "f3d286dd8ece", faster_model(BERT_BASE, 5.19)),
    Answer("yao2022zeroquant-1", "a4294d431f0d", faster_model(GPT3_350M, 4.16)),
    Answer("yao2022zeroquant-2", "7246c593305f", a_third_of_the_memory),
    Answer("sheng2023flexgen-2", "77c1039fecc7", weights_and_cache),
    Answer("kwon2022alphatuning-0", "b1fe42466b5e", binary_codes),
)
