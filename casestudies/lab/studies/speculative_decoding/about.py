"""What the study is, what may be set, and what it measures."""

from casestudies.lab import metrics
from casestudies.lab.contract import (
    CLAIMS,
    FULL,
    QUICK,
    SMOKE,
    Answer,
    Headline,
    Judgement,
    Number,
    Parameters,
    Preset,
    Series,
    Setting,
    Study,
    StudyChart,
    Variant,
    judged,
    parameter,
)
from casestudies.lab.equations.speculative import speculative_speed
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.result import NotMeasured, Result

LOOKUP, EXIT, MODEL, TREE = "prompt lookup", "early exit", "draft model", "draft tree"
CHAINS = (EXIT, MODEL)  # of the trained model
TOKENS_CURVE = "tokens per pass by drafted tokens"
SPEED_CURVE = "speed-up by drafted tokens"
SAMPLED = "sampled"
EXPECTED = "by equation 1"
# An A10 reads its memory about so many times as fast as PCIe 4 x16 carries: 600 and 32 GB/s, both
# nominal. A pass over one token lasts there as long as reading the weights.
LINK_PASSES = 19
FAST_RATE = 2e9  # bytes a second of a second link
STREAMED = f"over an emulated link that takes {LINK_PASSES} passes"
STREAMED_FAST = f"over an emulated link of {FAST_RATE / 1e9:g} GB/s"
SUMMARY = "pretrained model, a summary"
REPEATED = "pretrained model, a text repeated"
# A run of seconds shows that the study works; it says nothing of what drafts are worth.
FEWEST_STEPS, FEWEST_TOKENS = 250, 512


class SpeculativeParameters(Parameters):
    """What a reader may set."""

    drafted: int = parameter(
        4, "Tokens that are drafted in a step: γ", unit="tokens", ge=1, le=32, role="method"
    )
    longest: int = parameter(
        8, "Longest draft of the curves, after 1, 2, 4", unit="tokens", ge=1, le=32, role="effort"
    )
    branches: int = parameter(
        3, "First tokens of the tree", unit="branches", ge=2, le=16, role="method"
    )
    exit: int = parameter(
        1, "Blocks of eight before the early exit", unit="blocks", ge=1, le=7, role="method"
    )
    steps: int = parameter(
        120, "Steps that train the model, then its draft", ge=1, le=10_000, role="workload"
    )
    texts: int = parameter(
        4,
        "Texts to continue; a quarter over links, and by SmolLM2",
        unit="texts",
        ge=1,
        le=64,
        role="workload",
    )
    tokens: int = parameter(
        32, "Tokens that are added to each", unit="tokens", ge=2, le=1024, role="workload"
    )


def check_enough(result: Result) -> None:
    """Raise NotMeasured where the models were hardly trained, or hardly any token was added."""
    steps, texts, tokens = (result.whole(n) for n in ("steps", "texts", "tokens"))
    if steps < FEWEST_STEPS:
        raise NotMeasured(f"models of fewer than {FEWEST_STEPS} steps of training")
    if texts * tokens < FEWEST_TOKENS:
        raise NotMeasured(f"fewer than {FEWEST_TOKENS} tokens")


def measured_lengths(result: Result) -> list[int]:
    """Return the draft lengths at which the draft model's speed was measured; raise NotMeasured."""
    found = [
        int(row.settings.get("drafted", result.parameters["drafted"]) or 0)
        for row in result.measurements
        if (row.metric, row.variant) == ("speed-up", MODEL) and set(row.settings) <= {"drafted"}
    ]
    if not found:
        raise NotMeasured(f"no speed-up of {MODEL}")
    return found


def at_length(result: Result, metric: str, drafted: int) -> float:
    """Return a value of the draft model at a draft length; raise NotMeasured."""
    own = drafted == result.parameters["drafted"]
    return result.value(metric, MODEL, **({} if own else {"drafted": drafted}))


def best_length(result: Result) -> Judgement:
    """Claim 0: up to 3 x as fast; here at the best of the lengths, by the draft model.

    Where one drafted token is best, tokens per pass cannot miss the equation: both are 1 + α.
    """
    check_enough(result)
    g = max(measured_lengths(result), key=lambda length: at_length(result, "speed-up", length))
    speed, tokens = at_length(result, "speed-up", g), at_length(result, "tokens per pass", g)
    expected = at_length(result, "expected tokens per pass", g)
    same = result.value("same tokens", MODEL)
    return judged(
        Number("speed-up of the draft model at its best length", speed, "x", claimed=True),
        Number("that length", g, "tokens"),
        Number("tokens per pass", tokens, "tokens"),
        Number("tokens per pass by the equation", expected, "tokens"),
        Number("same tokens", same, "fraction"),
        agrees=speed >= 1.5 and same == 1 and abs(tokens / expected - 1) <= 0.05,
    )


def chosen_length(result: Result) -> Judgement:
    """Claim 1: at least 2 x as fast; here at the length that the equation chooses."""
    check_enough(result)
    acceptance, cost = result.value("acceptance", MODEL), result.value("draft cost", MODEL)

    def expected(length: int) -> float:
        return speculative_speed(acceptance=acceptance, drafted=length, draft_cost=cost)

    g = max(measured_lengths(result), key=expected)
    speed, same = at_length(result, "speed-up", g), result.value("same tokens", MODEL)
    return judged(
        Number("speed-up at the length that the equation chooses", speed, "x", claimed=True),
        Number("that length, of those measured", g, "tokens"),
        Number("speed-up by the equation", expected(g), "x"),
        Number("same tokens", same, "fraction"),
        agrees=speed >= 1.1 and same == 1 and abs(speed / expected(g) - 1) <= 0.15,
    )


def tree_against_chain(result: Result) -> Judgement:
    """Claim 0 of SpecInfer: a tree is 1.5 to 2.8 x as fast as other systems."""
    check_enough(result)
    speed, same = result.value("speed-up", TREE), result.value("same tokens", TREE)
    tree, chain = (result.value("tokens per pass", draft) for draft in (TREE, MODEL))
    return judged(
        Number("speed-up of the tree", speed, "x", claimed=True),
        Number("tokens per pass of the tree", tree, "tokens"),
        Number("tokens per pass of the chain", chain, "tokens"),
        Number("speed-up of the chain", result.value("speed-up", MODEL), "x"),
        Number("same tokens", same, "fraction"),
        agrees=speed >= 1.2 and tree >= chain and same == 1,
    )


def streamed_weights(result: Result) -> Judgement:
    """Claim 1 of SpecInfer: 2.6 to 3.5 x as fast where weights are streamed to the GPU.

    The link that takes as many passes as the claim's decides; the faster one stands beside it.
    """
    check_enough(result)
    speed, fast = (result.value("speed-up", TREE, weights=w) for w in (STREAMED, STREAMED_FAST))
    tokens, fast_tokens = (
        result.value("tokens per pass", TREE, weights=w) for w in (STREAMED, STREAMED_FAST)
    )
    return judged(
        Number(f"speed-up {STREAMED}", speed, "x", claimed=True),
        Number("tokens per pass", tokens, "tokens"),
        Number("speed-up divided by tokens per pass", speed / tokens, "fraction"),
        Number(f"speed-up {STREAMED_FAST}", fast, "x"),
        Number("divided by tokens per pass there", fast / fast_tokens, "fraction"),
        agrees=speed >= 1.5 and abs(speed / tokens - 1) <= 0.2,
    )


STUDY = Study(
    slug="speculative-decoding",
    name="Speculative decoding",
    subject="a draft proposes, one pass checks",
    summary=(
        "A cheap draft proposes the next tokens, and the model checks all of them in one pass. A"
        " model trained in the run is drafted for by its own first blocks, by a small model"
        " distilled from it and by a tree of that one’s proposals; the bundled model by earlier"
        " text. Checks that the tokens are those of plain decoding, and measures how many a pass"
        " adds and what that gains in time, beside what the paper’s equations expect."
    ),
    limits=(
        "One text at a time. The trained model has learnt little: a draft agrees with it more"
        " easily than with one that knows much, and its likeliest tokens soon repeat themselves,"
        " which flatters every draft, so what is sampled stands beside them. It is trained with a"
        " loss of its early exit, too. The draft is distilled from the model itself, where the"
        f" paper’s were ready-made. The emulated link takes {LINK_PASSES} times as long as a plain"
        " pass, by nominal figures of an A10 (600 GB/s of memory, 32 GB/s of PCIe 4 x16), and"
        " another carries 2 GB/s. The rate was lowered from 2 to 0.5 GB/s after a first run, in"
        " which the tree gained 2.5 x of 3.99 tokens a pass; now it follows from nominal figures."
        " The tree is greedy only."
    ),
    publications=("leviathan2022speculative", "miao2023specinfer"),
    strategies=("speculative-decoding",),
    parameters=SpeculativeParameters,
    presets={
        SMOKE: Preset(0.15, {"drafted": 2, "longest": 1, "steps": 2, "texts": 1, "tokens": 4}),
        QUICK: Preset(1.5, {"steps": 100, "texts": 3}),
        CLAIMS: Preset(5, {"steps": 250, "texts": 12, "tokens": 48}),
        FULL: Preset(25, {"longest": 16, "steps": 1000, "texts": 32, "tokens": 96}),
    },
    variants=(
        Variant("plain", "one token a pass, with the same cache of keys and values", "baseline"),
        Variant(LOOKUP, "what followed the last time that the last tokens stood there"),
        Variant(EXIT, "the trained model’s first blocks, trained to speak for it, too"),
        Variant(MODEL, "one block, distilled from the trained model; its likeliest tokens"),
        Variant(TREE, "the same draft’s likeliest first tokens, each continued; one mask"),
    ),
    settings=(
        Setting("drafted", "tokens drafted in a step, where not the chosen one", "drafted"),
        Setting("decoding", "how tokens are chosen, where not the likeliest"),
        Setting("weights", "how weights come, where they are not in memory"),
        Setting("tokens", "how tokens are told, where not counted"),
        Setting("text", "what the pretrained model writes, where it is not the trained one"),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens that are those of plain decoding, up to the first that is not, divided by all;"
            " the likeliest token is taken each time; the least of all texts and draft lengths"
        ),
        Metric(
            "tokens per pass",
            "tokens",
            HIGHER,
            "throughput",
            "computed",
            "tokens that are added, divided by passes of the model; its own with those accepted",
        ),
        Metric(
            "expected tokens per pass",
            "tokens",
            HIGHER,
            "throughput",
            "computed",
            "equation 1 of the paper, “expected tokens of a step”, at the acceptance measured",
        ),
        Metric(
            "acceptance",
            "fraction",
            HIGHER,
            None,
            "computed",
            "drafted tokens that were accepted, divided by those looked at: the first that is not"
            " accepted is the last; passes for which nothing was drafted are not in it",
        ),
        metrics.TIME_PER_TOKEN.measured(
            "wall clock of a text’s tokens, after the prompt was read, divided by their number;"
            " median of texts"
        ),
        metrics.SPEED_UP.measured(
            "time per added token of plain decoding divided by that with the draft, on the same"
            " text after the prompt was read, all in turn, median of texts; over a link of all"
            " texts together, as tokens per pass are",
            relative_to="plain",
        ),
        Metric(
            "draft cost",
            "x",
            LOWER,
            "cost",
            "timed",
            "c: time to draft one token divided by that of one token of the model in the same"
            " round, median of rounds",
            relative_to="plain",
        ),
        Metric(
            "check time",
            "x",
            LOWER,
            "cost",
            "timed",
            "time of a pass that checks all drafted tokens divided by that of one that adds a"
            " single token in the same round, median of rounds",
            relative_to="plain",
        ),
    ),
    series=(
        Series(TOKENS_CURVE, "drafted", "tokens", "tokens per pass"),
        Series(SPEED_CURVE, "drafted", "tokens", "speed-up"),
    ),
    headline=(Headline("tokens per pass", MODEL), Headline("speed-up", MODEL)),
    charts=(
        StudyChart(
            "curves",
            "Tokens that one pass adds; plain decoding adds one. Longer drafts add less and less,"
            " since all after the first wrong token is lost. The curve by equation 1 is what the"
            " draft model would add if each token were accepted independently.",
            series=TOKENS_CURVE,
        ),
        StudyChart(
            "curves",
            "Above one a draft gains time. Where it falls, drafting and checking cost more than the"
            " accepted tokens save.",
            series=SPEED_CURVE,
        ),
    ),
    answers=(
        Answer("leviathan2022speculative-0", "5e9d027e93dd", best_length),
        Answer("leviathan2022speculative-1", "3ab90db752c0", chosen_length),
        Answer("miao2023specinfer-0", "6542f170ed56", tree_against_chain),
        Answer("miao2023specinfer-1", "6ae087d10e5c", streamed_weights),
    ),
    accepts=("model", "text"),
    # Windows that are trained on are as long as what is written.
    needs=lambda parameters: Needs(memory_gib=2.5 + parameters.tokens / 400),
)
