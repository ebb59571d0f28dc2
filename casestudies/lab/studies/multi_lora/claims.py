"""How a run speaks to the claims, each by the rule that stands with it in the fixtures."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result

BACKBONE, COPIES = "backbone alone", "merged copies"
SWITCH, BY_TASK = "merge and switch", "task by task"
LOOP, GATHERED = "one by one", "gathered"
FROM_PAGES = "read from pages"

COPIES_THAT_FIT = 8  # full copies make up the byte cap
QUERIES = (1, 4)  # of each task that wait together, where kinds are mixed
BATCH = 16  # requests, each with its own adapter
MANY = 64  # adapters
FOR_EACH = 4  # requests; with one for each adapter, merging it could never share a pass
BATCHES = 4  # whose bytes are counted while they are served
ABOUT_ONE = (0.5, 1.5)  # percent of the model's bytes


def throughput(result: Result) -> Judgement:
    """Punica 0: tokens per second of one batch of distinct adapters, and of each alone."""
    if reason := other_batch(result):
        return not_run(reason)
    gain, one_by_one, plain = (
        result.value("gain over each alone", name) for name in (GATHERED, LOOP, BACKBONE)
    )
    return judged(
        Number("one batch over each adapter alone", gain, "x", claimed=True),
        Number("the same with adapters applied one by one", one_by_one, "x"),
        Number("the same without adapters", plain, "x"),
        Number("same tokens", result.value("same tokens", GATHERED), "fraction"),
        agrees=gain >= 3,
    )


def latency(result: Result) -> Judgement:
    """Punica 1: what distinct adapters add to the time per token."""
    if reason := other_batch(result):
        return not_run(reason)
    added = result.value("added time", GATHERED)
    plain = result.value("time per token", BACKBONE)
    alone, gathered = (result.value("gain over each alone", n) for n in (BACKBONE, GATHERED))
    whole = 100 * (alone / gathered - 1)
    return judged(
        Number("added to the time per token", added, "%"),
        Number("added to the backbone’s", added / 100 * plain, "ms/token", claimed=True),
        Number("added to a whole batch, prompts and gathering included", whole, "%"),
        Number("bytes of an adapter", result.value("adapter size", GATHERED), "% of the model"),
        agrees=added <= 20,
    )


def paged(result: Result) -> Judgement:
    """S-LoRA 0: requests per second of 64 adapters batched from a pool or merged in turn."""
    asking, own = (result.whole(name) for name in ("adapters", "requests_each"))
    each = asking * own // MANY
    if each < FOR_EACH:
        return not_run(f"fewer than {FOR_EACH} requests for each of {MANY} adapters")
    gain = result.value("speed-up", GATHERED, adapters=MANY)
    held, allowed = (result.value("memory held", n, adapters=MANY) for n in (GATHERED, SWITCH))
    if held > allowed:
        return not_run("gathered holds more bytes than merge and switch, which it is held to")
    return judged(
        Number(
            f"gathered over merge and switch, {MANY} adapters, {each} requests each",
            gain,
            "x",
            claimed=True,
        ),
        Number("bytes held, gathered", held, "MiB"),
        Number("bytes held, merge and switch", allowed, "MiB"),
        Number("brought in, gathered", result.value("bytes moved", GATHERED, adapters=MANY), "MiB"),
        Number(
            "written, merge and switch", result.value("bytes moved", SWITCH, adapters=MANY), "MiB"
        ),
        agrees=gain >= 2,
    )


def tasks(result: Result) -> Judgement:
    """PetS 0: tasks that fit where eight full copies do, and answer as from their own."""
    share = result.value("adapter size", GATHERED)
    if not ABOUT_ONE[0] <= share <= ABOUT_ONE[1]:
        return not_run(f"an adapter takes {share:.1f} % of the model's bytes, not about 1 %")
    fit, copies = (result.value("tasks that fit", name) for name in (GATHERED, COPIES))
    alike, held = (
        result.value(m, GATHERED) for m in ("tasks that answer alike", "share of the cap")
    )
    return judged(
        Number("tasks over copies", fit / copies, "x", claimed=True),
        Number("tasks", fit, "tasks"),
        Number("that answer as from their own copy", alike, "fraction"),
        Number("of the cap held when they were run", held, "fraction"),
        Number("bytes of an adapter", share, "% of the model"),
        agrees=fit >= 25 * copies and alike == 1 and held <= 1,
    )


def queries(result: Result) -> Judgement:
    """PetS 1 and 2: queries per second of mixed kinds, across tasks and task by task."""
    if result.whole("adapters") < MANY:
        return not_run(f"the run has fewer than {MANY} queries")
    few, several = QUERIES
    # Where several queries of a task wait, the baseline has something to batch as well.
    gain = result.value("gain over task by task", GATHERED, queries=several)
    own = result.value("gain over task by task", GATHERED, queries=few)
    return judged(
        Number(f"across tasks over task by task, {several} queries each", gain, "x", claimed=True),
        Number(f"the same, {few} query each", own, "x"),
        agrees=gain >= 1.2,
    )


def other_batch(result: Result) -> str:
    """Return why the run's batch is not the rule's; empty where it is."""
    slots = result.whole("slots")
    return "" if slots == BATCH else f"the rule asks for a batch of {BATCH}, not of {slots}"


ANSWERS = (
    Answer("chen2023punica-0", "7c97d1e4b7cf", throughput),
    Answer("chen2023punica-1", "45248151622e", latency),
    Answer("sheng2023slora-0", "764c682e2360", paged),
    Answer("zhou2022pets-0", "830952b57853", tasks),
    Answer("zhou2022pets-1", "c30b485da99a", queries),
    Answer("zhou2022pets-2", "c30b485da99a", queries),
)
