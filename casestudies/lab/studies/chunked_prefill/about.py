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
    Setting,
    Study,
    StudyChart,
    Variant,
    parameter,
)
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import HIGHER, LOWER, NEITHER, Metric
from casestudies.lab.serving import declared
from casestudies.lab.studies.chunked_prefill.claims import ANSWERS, APART, CHUNKS, TOGETHER


class ChunkedPrefillParameters(Parameters):
    """What a reader may set."""

    chunk: int = parameter(
        64,
        "Tokens of prompts that a pass reads at most; half and twice as many are tried too",
        unit="tokens",
        ge=2,
        le=1024,
        multiple_of=2,
        role="method",
    )
    slots: int = parameter(
        8, "Requests that are computed for at once", unit="slots", ge=2, le=64, role="workload"
    )
    requests: int = parameter(
        32, "Requests of a trace", unit="requests", ge=2, le=1000, role="workload"
    )
    longest_prompt: int = parameter(
        256,
        "Longest prompt; all lengths from half of it on are equally likely, and an answer has as"
        " many tokens as its prompt divided by chunk over slots less one",
        unit="tokens",
        ge=8,
        le=2048,
        multiple_of=8,
        role="workload",
    )
    arrivals: Literal["poisson", "bursts"] = parameter(
        "poisson", "How requests come: one by one, or eight at a time", role="workload"
    )
    load: float = parameter(
        0.7,
        "Requests a second, divided by what was served with whole prompts and everyone waiting",
        unit="fraction",
        ge=0.05,
        le=2,
        role="workload",
    )
    stages: int = parameter(
        4,
        "Stages of the pipeline on paper, with as many batches",
        unit="stages",
        ge=2,
        le=64,
        role="workload",
    )
    rounds: int = parameter(
        3, "Times that everything is served", unit="rounds", ge=2, le=100, role="effort"
    )
    width: int = declared.width()
    layers: int = declared.layers()
    steps: int = declared.steps(60)


def needs(parameters: ChunkedPrefillParameters) -> Needs:
    """Return the memory of the caches, beside what PyTorch and the text take."""
    p = parameters
    token = 2 * p.layers * p.width * 4
    answer = p.longest_prompt * (p.slots - 1) / p.chunk
    return Needs(memory_gib=1.5 + 5 * p.slots * (p.longest_prompt + answer) * token / 2**30)


STUDY = Study(
    slug="chunked-prefill",
    name="Chunked prefill",
    subject="long prompts that are read in pieces, so that answers need not wait",
    summary=(
        "Serves requests with long prompts on one engine in three ways: a pass reads prompts or"
        " adds to answers, never both; whole prompts are read beside the answers; or at most a"
        " chunk of them is (SARATHI). Measures by how much chunks change logits, counts what a"
        " pass reads, and times how long an answer stands still, what answers cost beside a chunk,"
        " the whole, and on paper the bubbles of a pipeline."
    ),
    limits=(
        "A small model in float32. How much cheaper answers are beside a chunk is measured here for"
        " this machine only. One trace is drawn and every round serves it: the spread is the"
        " machine's and says nothing of other traces. The pipeline is a replay: stages of equal"
        " size, without the time in which one sends to the next."
    ),
    publications=("agrawal2023sarathi", "yu2022orca"),
    strategies=("request-scheduling", "continuous-batching", "scheduler-optimization"),
    parameters=ChunkedPrefillParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "chunk": 8,
                "slots": 4,
                "requests": 8,
                "longest_prompt": 16,
                "stages": 2,
                "rounds": 2,
                "width": 64,
                "layers": 1,
                "steps": 2,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(3.5, {"requests": 64, "rounds": 5}),
        FULL: Preset(30, {"requests": 160, "slots": 16, "rounds": 15, "steps": 1000}),
    },
    variants=(
        Variant(
            APART,
            "a pass reads the prompts of those who came, or else adds a token to each answer",
            "baseline",
        ),
        Variant(
            TOGETHER, "whole prompts are read in the pass that adds to the answers", "baseline"
        ),
        Variant(CHUNKS, "every answer goes on in each pass, with at most a chunk of prompts"),
    ),
    settings=(
        Setting(
            "chunk",
            "tokens of prompts that a pass reads at most, where not those asked for",
            "tokens",
            one="token",
        ),
    ),
    metrics=(
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit after a prompt that is read in chunks from that after"
            " the whole prompt"
        ),
        metrics.SAME_TOKENS.measured(
            "tokens that are those of the request alone, up to the first that is not, of all tokens"
        ),
        metrics.PASSES.measured(
            "times that the model is gone through if all requests wait from the beginning"
        ),
        Metric(
            "prompt in a pass",
            "tokens",
            NEITHER,
            None,
            "counted",
            "most tokens of prompts that a pass reads, if all requests wait from the beginning",
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "tokens asked for, divided by the time of the passes, if all requests wait"
        ),
        metrics.SPEED_UP.measured(
            "time with whole prompts divided by the variant's, if all requests wait, pass by pass"
            " in turn; median of rounds",
            relative_to=TOGETHER,
        ),
        Metric(
            "longest wait for a token",
            "ms",
            LOWER,
            "latency",
            "timed",
            "the longest time from one token of an answer to the next that 95 % of the requests do"
            " not exceed, at the load; median of rounds",
        ),
        metrics.TIME_TO_FIRST_TOKEN.measured(
            "from a request's arrival to its first token, at the load; median of all requests,"
            " median of rounds"
        ),
        Metric(
            "time of the answers",
            "ms",
            LOWER,
            "throughput",
            "timed",
            "time of a pass that adds a token to all slots but one; beside a chunk, the time of"
            " both less that of the chunk alone; alternating, median of rounds",
        ),
        Metric(
            "bubble time",
            "s",
            LOWER,
            "scale",
            "timed",
            "time that all stages of the pipeline wait, together, by replay with costs of the"
            " passes that were carried out",
        ),
        Metric(
            "requests per second",
            "request/s",
            HIGHER,
            "throughput",
            "timed",
            "requests of all batches of the pipeline, divided by the replay's time",
        ),
        metrics.PREDICTION_ERROR.measured(
            "of the replay, with costs of passes carried out with everyone waiting: its mean"
            " completion time at the load, against that of the run in the same round; median"
        ),
    ),
    series=(
        Series("longest wait by chunk", "chunk", "tokens", "longest wait for a token"),
        Series("speed-up by chunk", "chunk", "tokens", "speed-up"),
    ),
    headline=(Headline("longest wait for a token", CHUNKS), Headline("speed-up", CHUNKS)),
    charts=(
        StudyChart(
            "curves",
            "How long an answer stands still while prompts of others are read, by the size of the"
            " chunk; whole prompts know no chunk, so their line is level.",
            series="longest wait by chunk",
        ),
        StudyChart(
            "curves",
            "What that costs or saves: below 1 all requests together take longer than with whole"
            " prompts, above 1 less.",
            series="speed-up by chunk",
        ),
        StudyChart(
            "bars",
            "What it takes to add a token to all answers: in a pass of their own, and beside a"
            " chunk that is read anyway.",
            y="time of the answers",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
)
