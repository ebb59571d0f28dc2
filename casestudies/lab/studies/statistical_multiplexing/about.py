"""What the study is, what may be set, and what it measures."""

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
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.studies.statistical_multiplexing.claims import ANSWERS, SPLIT, WHOLE

BURSTINESS = (1.0, 2.0, 4.0, 6.0)
DEADLINES = (5.0, 10.0, 20.0, 40.0, 80.0)
LOADS = tuple(tenths / 10 for tenths in range(1, 10))


class MultiplexingParameters(Parameters):
    """What a reader may set."""

    devices: int = parameter(
        8,
        "Devices on paper, and as many models; what is carried out has two of each",
        unit="devices",
        ge=2,
        le=64,
        multiple_of=2,
        role="workload",
    )
    room: int = parameter(
        1, "Whole models that a device has room for", unit="models", ge=1, le=64, role="workload"
    )
    burstiness: float = parameter(
        4.0,
        "Coefficient of variation of the times between a model's requests; 1 is Poisson's process",
        ge=0.25,
        le=12,
        role="workload",
    )
    deadline: float = parameter(
        20.0,
        "A request is in time if it is done within so many times the time of a whole model alone",
        unit="x",
        ge=1,
        le=1000,
        role="workload",
    )
    load: float = parameter(
        0.3,
        "Requests a second, divided by what devices with whole models serve that are never idle;"
        " for what is carried out, and for the greatest burstiness",
        unit="fraction",
        ge=0.05,
        le=0.95,
        role="workload",
    )
    requests: int = parameter(
        10_000, "Requests of a trace on paper", unit="requests", ge=100, le=100_000, role="workload"
    )
    traces: int = parameter(
        3,
        "Traces on paper, beside one on which the number of stages is chosen",
        unit="traces",
        ge=2,
        le=20,
        role="effort",
    )
    executed: int = parameter(
        64, "Requests that are carried out", unit="requests", ge=4, le=1000, role="workload"
    )
    rounds: int = parameter(3, "Times that they are", unit="rounds", ge=2, le=100, role="effort")
    prompt: int = parameter(
        64, "Tokens of a request", unit="tokens", ge=4, le=1024, role="workload"
    )
    width: int = parameter(
        256,
        "Width of the models that are trained",
        unit="numbers a token",
        ge=64,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(
        8,
        "Blocks of each model; as many stages are tried as divide them and the devices",
        unit="blocks",
        ge=2,
        le=32,
        multiple_of=2,
        role="workload",
    )
    steps: int = parameter(
        20,
        "Steps of training each of two models, of 16 windows of 64 tokens",
        unit="steps",
        ge=1,
        le=100_000,
        role="workload",
    )


def needs(parameters: MultiplexingParameters) -> Needs:
    """Return a core for each of the two devices, and memory for both models on each, twice."""
    p = parameters
    weights = 4 * (12 * p.layers * p.width**2 + 2 * 1024 * p.width)
    return Needs(processes=2, memory_gib=2.5 + 12 * weights / 2**30)


def latency(name: str, what: str) -> Metric:
    """Return the metric of what is said of the latencies of all requests that were carried out."""
    how = f"from a request's arrival to its answer, on two devices: {what}, median of rounds"
    return Metric(name, "ms", LOWER, "latency", "timed", how)


def stage_time(name: str, what: str) -> Metric:
    """Return the metric of what stages take for a request."""
    how = f"seconds of {what} for one request on one core, with sending; median of rounds"
    return Metric(name, "ms", LOWER, "throughput", "timed", how)


def gain(name: str, what: str, more: str = "") -> Metric:
    """Return the metric of a ratio to whole models, of the same trace on paper."""
    how = f"{what} of the variant divided by that of whole models, by replay of the same trace"
    how += f" with stage times of this run; median of traces{more}"
    return Metric(name, "x", HIGHER, "throughput", "timed", how, relative_to=WHOLE)


STUDY = Study(
    slug="statistical-multiplexing",
    name="Statistical multiplexing",
    subject="models that are split over devices share each other's bursts",
    summary=(
        "Places as many models as devices in two ways with equal memory: each whole on a device of"
        " its own, or all of them in stages over a group of devices, so that a burst for one model"
        " is served by the whole group (AlpaServe). Carries both out for two models on two"
        " processes with bursty requests, then replays eight devices with the stage times of the"
        " run, to find the rate and the burstiness at which 99 % of the requests are in time, and"
        " where splitting loses."
    ),
    limits=(
        "Two processes on one machine are the devices that are carried out; more are on paper, by"
        " AlpaServe's queues: D_s for a request alone, and one every D_m. All models are of one"
        " size, ask for equally much in the mean, and requests are one pass of equal length, not"
        " answers of many tokens. Nobody is turned away, and no batches are made, where AlpaServe"
        " turns away who would be late. Arrivals are drawn, not observed: the claims are of"
        " production traces. Placement is chosen among groups of equal size, not searched."
    ),
    publications=("li2023alpaserve",),
    strategies=("model-partitioning", "pipeline-parallelism", "request-scheduling"),
    parameters=MultiplexingParameters,
    presets={
        SMOKE: Preset(
            0.1,
            {
                "requests": 400,
                "traces": 2,
                "executed": 12,
                "rounds": 2,
                "prompt": 32,
                "width": 64,
                "layers": 4,
                "steps": 2,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(4, {"requests": 20_000, "traces": 5, "rounds": 5}),
        FULL: Preset(
            30, {"requests": 50_000, "traces": 9, "executed": 500, "rounds": 9, "steps": 500}
        ),
    },
    variants=(
        Variant(WHOLE, "each device holds as many whole models as it has room for", "baseline"),
        Variant(
            SPLIT,
            "a group of devices holds models in stages, one on each; on paper of as many devices as"
            " was best on another trace",
        ),
    ),
    settings=(
        Setting("burstiness", "coefficient of variation of the times between a model's requests"),
        Setting("deadline", "times the time of a whole model alone"),
        Setting("room", "whole models that a device has room for", "models", one="model"),
        Setting("load", "requests a second, divided by what whole models serve if never idle"),
        Setting("stages", "parts of a model, one on each device of a group", "stages", one="stage"),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "requests whose likeliest next token is that of the model alone, of all"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit from that of the model alone in one process"
        ),
        metrics.TOKENS_READ.measured(
            "tokens that go through blocks on both devices, divided by the blocks of a model"
        ),
        metrics.BYTES_SENT.measured("bytes that devices send each other for the trace"),
        Metric(
            "weights held",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes of both models' weights on the device that holds more of them",
        ),
        stage_time("time of all stages", "all stages of a model"),
        stage_time("time of the longest stage", "the longest stage of a model"),
        latency("mean latency", "mean of all requests"),
        latency("latency, 50 %", "what half of them do not exceed"),
        latency("latency, 99 %", "what 99 % of them do not exceed"),
        Metric(
            "served in time",
            "%",
            HIGHER,
            "latency",
            "timed",
            "requests carried out within the deadline, of all; median of rounds",
        ),
        metrics.PREDICTION_ERROR.measured(
            "of the replay, with stage times of the same round: its mean latency against that of"
            " what was carried out; median of rounds"
        ),
        Metric(
            "formula error",
            "%",
            LOWER,
            None,
            "timed",
            "of the replay's mean latency with Poisson's arrivals against W = D_s + rate D_m^2 /"
            " (2 (1 - rate D_m)) (AlpaServe, section 3); median of traces",
        ),
        Metric(
            "highest load",
            "fraction",
            HIGHER,
            "throughput",
            "timed",
            "highest load at which 99 % of the requests are in time, by replay with stage times of"
            " this run; 0 below a hundredth; median of traces",
        ),
        gain("gain in rate", "highest load"),
        Metric(
            "greatest burstiness",
            "",
            HIGHER,
            "scale",
            "timed",
            "greatest coefficient of variation, in quarters up to 12, up to which 99 % of the"
            " requests are in time at the load, by replay; median of traces",
        ),
        gain("gain in burstiness", "greatest burstiness"),
        gain("gain in latency", "one over the mean latency"),
    ),
    series=(
        Series("highest load by burstiness", "burstiness", "", "highest load"),
        Series("highest load by room", "room", "models", "highest load"),
        Series("gain in latency by load", "load", "", "gain in latency"),
    ),
    headline=(Headline("gain in rate", SPLIT), Headline("gain in burstiness", SPLIT)),
    charts=(
        StudyChart(
            "curves",
            "How busy devices may be before more than one request in a hundred is late. Bursts take"
            " more from devices that each serve a model of their own.",
            series="highest load by burstiness",
        ),
        StudyChart(
            "curves",
            "The same by the models that each device has room for. Copies of whole models share"
            " bursts too, without what stages cost: with room for all of them nothing is left"
            " to gain, and splitting loses.",
            series="highest load by room",
        ),
        StudyChart(
            "curves",
            "Mean latency of whole models divided by that of split ones. Below 1 splitting loses:"
            " where little waits, because stages take longer together, and near the full load,"
            " because the longest stage takes more than its share.",
            series="gain in latency by load",
        ),
    ),
    answers=ANSWERS,
    kind="replay",
    accepts=("text",),
    devices=("cpu",),
    needs=needs,
)
