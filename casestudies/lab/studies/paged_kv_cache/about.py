"""What the study is, what may be set, and what it measures."""

from typing import Literal

from casestudies.lab import metrics
from casestudies.lab.contract import (
    CLAIMS,
    FULL,
    QUICK,
    SMOKE,
    Headline,
    Parameters,
    Preset,
    Series,
    Study,
    StudyChart,
    Variant,
    parameter,
)
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.serving import declared
from casestudies.lab.studies.paged_kv_cache.claims import (
    ANSWERS,
    FEW,
    LONGEST,
    ORACLE,
    PAGED,
    POWER,
)

IN_PLACE = "blocks, read in place"
SAMPLES_COPIED, SAMPLES = "samples, copied", "samples, in blocks"
BEAMS_COPIED, BEAMS = "beams, copied", "beams, in blocks"


class PagedParameters(Parameters):
    """What a reader may set."""

    memory: int = parameter(
        4,
        "Memory for keys and values: for so many of the longest texts, prompt and answer together",
        unit="texts",
        ge=2,
        le=64,
        role="workload",
    )
    requests: int = parameter(
        64, "Requests of a trace", unit="requests", ge=2, le=1000, role="workload"
    )
    longest_prompt: int = parameter(
        40,
        "Longest prompt; all lengths from an eighth of it on are equally likely",
        unit="tokens",
        ge=8,
        le=1024,
        multiple_of=8,
        role="workload",
    )
    longest_answer: int = parameter(
        216,
        "Longest answer; lengths from a sixteenth of it on, with a heavy tail or equally likely",
        unit="tokens",
        ge=16,
        le=1024,
        role="workload",
    )
    answers: Literal["heavy tail", "uniform"] = parameter(
        "heavy tail", "How the lengths of the answers are distributed", role="workload"
    )
    block: int = parameter(16, "Tokens of a block", unit="tokens", ge=1, le=1024, role="method")
    continuations: int = parameter(
        4,
        "Random samples, and beams, that continue one prompt",
        unit="texts",
        ge=2,
        le=32,
        role="workload",
    )
    forked_prompts: int = parameter(
        4, "Prompts that are continued so", unit="prompts", ge=1, le=64, role="workload"
    )
    forked_tokens: int = parameter(
        48, "Tokens that are added to each", unit="tokens", ge=2, le=512, role="workload"
    )
    rounds: int = parameter(
        3, "Times that everything is served", unit="rounds", ge=2, le=100, role="effort"
    )
    width: int = declared.width()
    layers: int = declared.layers()
    steps: int = declared.steps(60)

    @property
    def longest(self) -> int:
        """Return the tokens of the longest text."""
        return self.longest_prompt + self.longest_answer


def needs(parameters: PagedParameters) -> Needs:
    """Return the memory of the caches, beside what PyTorch and the text take."""
    p = parameters
    # Five ways are served side by side.
    held = 5 * p.memory * p.longest * 2 * p.layers * p.width * 4
    return Needs(memory_gib=1.5 + held / 2**30)


STUDY = Study(
    slug="paged-kv-cache",
    name="Paged key-value cache",
    subject="how many requests share the memory for keys and values",
    summary=(
        "Serves the same requests in the same memory for keys and values: with a piece for each"
        " request, as long as the longest text, as the next power of two or as what will truly be"
        " needed; and in blocks of a few tokens, of which a request takes another when one is full"
        " (PagedAttention). Then continues prompts by several random samples and by beam search,"
        " which share blocks until they write to them. Checks that all tokens are the same, counts"
        " empty places and shared blocks, and measures throughput."
    ),
    limits=(
        "A small model in float32 and a trace whose lengths are drawn, not observed. Blocks are"
        " gathered into one piece before attention reads them; a kernel that reads them in place is"
        " measured apart from serving, on a GPU only. On a CPU a pass takes longer for more"
        " requests, so room for more of them gains less than on a GPU. Everyone waits from the"
        " beginning: throughput at equal latency, which the paper compares, is not measured. A"
        " piece of memory is had wherever there is room in sum, so pieces leave no gaps here: the"
        " ways without blocks are better than they could be. One trace is drawn and every round"
        " serves it."
    ),
    publications=("kwon2023vllm", "yu2022orca"),
    strategies=("kv-cache-management",),
    parameters=PagedParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "memory": 2,
                "requests": 8,
                "longest_prompt": 8,
                "longest_answer": 24,
                "block": 4,
                "continuations": 2,
                "forked_prompts": 1,
                "forked_tokens": 6,
                "rounds": 2,
                "width": 64,
                "layers": 1,
                "steps": 2,
            },
        ),
        QUICK: Preset(1.5, {"requests": 40, "forked_tokens": 32, "steps": 40}),
        CLAIMS: Preset(3.5, {"requests": 128, "rounds": 5}),
        FULL: Preset(30, {"requests": 512, "memory": 8, "rounds": 9, "steps": 1000}),
    },
    variants=(
        Variant(
            LONGEST,
            "a piece of memory for the longest text is held for each request from the beginning"
            " (Orca, to the maximum)",
            "baseline",
        ),
        Variant(
            POWER,
            "a piece for the prompt and the next power of two of the answer's true length, as if it"
            " were known that far (Orca, to powers of two)",
            "baseline",
        ),
        Variant(
            ORACLE,
            "a piece for the prompt and the answer's true length, which nobody knows",
            "control",
        ),
        Variant(PAGED, "a block table: one more block when the last is full; who came last waits"),
        Variant(
            FEW,
            "the same with as many requests at once as there is room for the longest: what blocks"
            " cost where they gain nothing",
            "ablation",
        ),
        Variant(
            IN_PLACE,
            "attention follows the block tables in one kernel of ours, in Triton; on a GPU only",
        ),
        Variant(SAMPLES_COPIED, "each random sample gets a copy of the prompt's cache", "baseline"),
        Variant(SAMPLES, "random samples share the prompt's blocks, and copy one on writing to it"),
        Variant(BEAMS_COPIED, "a beam that goes on twice has its whole cache copied", "baseline"),
        Variant(BEAMS, "beams share all blocks that they have in common, copied on write"),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens that are those of the request alone, continued without the engine; of samples"
            " and beams, those with copied caches; up to the first that is not, of all tokens"
        ),
        metrics.PASSES.measured("times that the model is gone through until all are served"),
        Metric(
            "requests at once",
            "requests",
            HIGHER,
            "throughput",
            "counted",
            "requests that a pass computes for, mean of all passes",
        ),
        Metric(
            "filled",
            "%",
            HIGHER,
            "memory",
            "counted",
            "places that hold a token's keys and values after a pass, of all that are reserved for"
            " requests, over all passes",
        ),
        Metric(
            "most empty places",
            "tokens",
            LOWER,
            "memory",
            "counted",
            "places that are reserved for one request and hold nothing after a pass, at most",
        ),
        metrics.CACHE_BYTES.measured("bytes of keys and values that are reserved, at most"),
        metrics.BYTES_MOVED.measured(
            "bytes of keys and values copied: of requests, put aside and brought back; of samples"
            " and beams, because one goes on several times"
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "tokens asked for, divided by the time of the passes, if all requests wait"
        ),
        metrics.SPEED_UP.measured(
            "time with room for the longest divided by the variant's, if all requests wait, pass by"
            " pass in turn; median of rounds",
            relative_to=LONGEST,
        ),
        Metric(
            "speed-up over powers of two",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "time with room for the next power of two divided by the variant's, in the same rounds",
            relative_to=POWER,
        ),
        Metric(
            "memory saved",
            "%",
            HIGHER,
            "memory",
            "counted",
            "blocks that sharing saves, of those that each text would have for itself, mean of all"
            " steps",
        ),
        metrics.TIME_PER_TOKEN.measured(
            "time until all samples or beams of a prompt have their tokens, divided by the tokens"
            " of one of them; alternating, median of rounds"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of that attention from float64, as a share of the largest number"
        ),
        Metric(
            "attention time",
            "ms",
            LOWER,
            "latency",
            "timed",
            "wall clock of attention for a new token of each of 64 texts (of fewer, if there are"
            " fewer requests) of 128 to 4,096 tokens in"
            " blocks, a layer of Llama's 8B shape in bfloat16; gathered text by text, or read in"
            " place; alternating, median of rounds",
        ),
        metrics.SHARE_OF_COPYING.measured(
            "time in which the GPU copies as many bytes as those texts’ keys, values, queries and"
            " outputs have, of the median time of that attention"
        ),
    ),
    series=(Series("filled by block size", "tokens of a block", "tokens", "filled"),),
    headline=(
        Headline("speed-up", PAGED),
        Headline("filled", PAGED),
        Headline("memory saved", BEAMS),
    ),
    charts=(
        StudyChart(
            "trade",
            "In the same memory. Further right more requests share a pass; whether that makes it"
            " faster is how high a point lies.",
            x="requests at once",
            y="tokens per second",
        ),
        StudyChart(
            "bars",
            "Of the memory that is held for requests, how much holds something. Even where the true"
            " length is known, what will be needed later is empty now.",
            y="filled",
        ),
        StudyChart(
            "curves",
            "The larger a block, the more of the last one is empty; a block for the longest text is"
            " the way without blocks.",
            series="filled by block size",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
    gpu_only=frozenset({IN_PLACE, "equality error", "attention time", "share of copying"}),
)
