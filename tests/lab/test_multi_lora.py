"""Many adapters on one model: what merged copies say, bytes and pages, and who is switched when."""

from collections import Counter, OrderedDict
from itertools import cycle, islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.equations.parameters import lora_parameters
from casestudies.lab.measure.tensors import NoRoom, peak_bytes
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.report import Report
from casestudies.lab.serving.alone import answer
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.carrying import PricedPasses
from casestudies.lab.serving.engine import Policy, serve
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.serving.selective import Piece, read
from casestudies.lab.studies.multi_lora.about import STUDY, MultiLoraParameters
from casestudies.lab.studies.multi_lora.adapters import (
    STRENGTH,
    Adapter,
    Bias,
    Kind,
    LowRank,
    Size,
    Sparse,
    drawn,
    merged,
    sizes_of,
)
from casestudies.lab.studies.multi_lora.bench import Bench, shared_case
from casestudies.lab.studies.multi_lora.claims import (
    BACKBONE,
    COPIES,
    COPIES_THAT_FIT,
    GATHERED,
    LOOP,
    SWITCH,
)
from casestudies.lab.studies.multi_lora.filling import fill, held_bytes
from casestudies.lab.studies.multi_lora.gathered import ManyTasks, Segment
from casestudies.lab.studies.multi_lora.pool import PAGE, Pool, pages_of
from casestudies.lab.studies.multi_lora.timing import layer_runs
from casestudies.lab.studies.multi_lora.ways import (
    Carrying,
    CopiesPasses,
    GatheredPasses,
    SwitchedPasses,
    task_by_task,
)
from tests.lab.declared import statuses
from tests.lab.tiny import CONFIG, talkative_model, tiny_windows

KINDS: tuple[Kind, ...] = (LowRank(3), Bias(), Sparse())
MODEL = talkative_model()
SIZES = sizes_of(MODEL)


def some_adapters(count: int, kinds: tuple[Kind, ...] = KINDS) -> list[Adapter]:
    """Return adapters of these kinds in turn, the same each time."""
    generator = torch.Generator().manual_seed(2)
    return [drawn(kind, SIZES, generator) for kind in islice(cycle(kinds), count)]


ADAPTERS = some_adapters(6)


def asked(rows: list[tuple[int, int, int]]) -> list[Request]:
    """Return requests of these tasks, lengths of a prompt and of an answer."""
    texts = tiny_windows(len(rows), 8)
    return [
        Request(text[:prompt], tokens, task=task)
        for text, (task, prompt, tokens) in zip(texts, rows, strict=True)
    ]


def ways(slots: int, spare: int) -> list[tuple[Policy, Carrying]]:
    """Return every way to serve several tasks: a policy and passes."""
    found: list[tuple[Policy, Carrying]] = [
        (task_by_task, SwitchedPasses(MODEL, ADAPTERS)),
        (task_by_task, CopiesPasses(MODEL, ADAPTERS)),
    ]
    for policy in (iteration_level, task_by_task):
        for one_by_one in (False, True):
            pool = Pool.with_room_for(slots + spare, ADAPTERS, "cpu")
            passes = GatheredPasses(ManyTasks(MODEL, pool, one_by_one=one_by_one))
            found.append((policy, passes))
    return found


@settings(max_examples=40)
@given(
    kind=st.sampled_from(KINDS),
    size=st.builds(Size, d=st.integers(1, 40), k=st.integers(1, 40)),
    texts=st.integers(1, 5),
    tokens=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_the_batched_product_is_that_of_merged_weights(kind, size, texts, tokens, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(size, generator=generator) * size.k**-0.5
    own = torch.stack([kind.drawn(size, generator) for _ in range(texts)])
    assert own.shape == (texts, kind.numbers(size))
    x = torch.randn(texts, tokens, size.k, generator=generator)
    y = x @ weight.T
    kind.add(y, x, kind.parts(own, size))
    for text in range(texts):
        into = torch.full_like(weight, torch.nan)
        bias = kind.merge(weight, kind.parts(own[text], size), into)
        expected = torch.nn.functional.linear(x[text], into, bias)
        torch.testing.assert_close(y[text], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("one_by_one", [False, True])
@settings(max_examples=25)
@given(row=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=6))
def test_a_row_of_segments_is_read_as_each_by_a_merged_copy(one_by_one, row) -> None:
    many = ManyTasks(MODEL, Pool.with_room_for(6, ADAPTERS, "cpu"), one_by_one=one_by_one)
    many.turn_to([Segment(*segment) for segment in row])
    texts = [text[:length] for text, (_, length) in zip(tiny_windows(6), row, strict=False)]
    caches = [KeyValueCache(CONFIG, 1, len(text)) for text in texts]
    found = read(many.model, list(map(Piece, texts, caches)))
    for logits, text, (task, _) in zip(found, texts, row, strict=True):
        expected = merged(MODEL, ADAPTERS[task])(text[None])[0, -1]
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
    before = talkative_model()
    assert all(map(torch.equal, MODEL.parameters(), before.parameters()))


@settings(max_examples=10)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 5), st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=9
    ),
    slots=st.integers(1, 4),
    spare=st.integers(0, 2),
)
def test_each_request_gets_the_tokens_of_a_copy_of_its_own(rows, slots, spare) -> None:
    requests = asked(rows)
    expected = [answer(merged(MODEL, ADAPTERS[one.task]), one) for one in requests]
    for policy, passes in ways(slots, spare):
        served = serve(requests, slots, policy, passes)
        assert [job.said for job in served.jobs] == expected


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_what_an_adapter_drawn_at_random_adds_is_of_the_strength_it_should_have(kind: Kind) -> None:
    generator = torch.Generator().manual_seed(0)
    size = Size(300, 500)
    x, added = torch.randn(1, 400, size.k, generator=generator), torch.zeros(1, 400, size.d)
    kind.add(added, x, tuple(part[None] for part in kind.parts(kind.drawn(size, generator), size)))
    assert added.square().mean().sqrt().item() == pytest.approx(STRENGTH, rel=0.2)


def test_adapters_change_what_is_answered() -> None:
    (request,) = asked([(0, 6, 6)])
    plain = answer(MODEL, request)
    assert all(answer(merged(MODEL, adapter), request) != plain for adapter in ADAPTERS[:3])


@given(rank=st.integers(1, 9))
def test_an_adapter_takes_the_bytes_of_its_formula(rank: int) -> None:
    adapter = drawn(LowRank(rank), SIZES, torch.Generator())
    expected = sum(
        lora_parameters(matrices=1, rank=rank, inputs=size.k, outputs=size.d) for size in SIZES
    )
    assert adapter.numbers.nbytes == 4 * expected
    pool = Pool.with_room_for(5, [adapter], "cpu")
    assert pool.memory.nbytes == 5 * pages_of(adapter) * PAGE * 4
    assert 0 <= pages_of(adapter) * PAGE - expected < PAGE


def test_the_weights_are_shared_and_not_copied() -> None:
    many = ManyTasks(MODEL, Pool.with_room_for(1, ADAPTERS, "cpu"))
    assert {w.data_ptr() for w in many.model.parameters()} == {
        w.data_ptr() for w in MODEL.parameters()
    }


@given(
    batches=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), max_size=12),
    room=st.integers(3, 7),
)
def test_the_pool_holds_who_is_asked_for_and_forgets_who_was_not_for_longest(batches, room) -> None:
    low = some_adapters(6, (LowRank(3),))
    pool = Pool.with_room_for(room, low, "cpu")
    held, moved = OrderedDict[int, None](), 0
    for batch in batches:
        pool.hold(batch)
        expected = torch.stack([low[task].numbers for task in batch])
        assert pool.gathered(batch)[:, : expected.shape[1]].equal(expected)
        new = [task for task in dict.fromkeys(batch) if task not in held]
        for task in dict.fromkeys(batch):
            if task in held:
                held.move_to_end(task)
        for task in new:
            if len(held) == room:
                held.popitem(last=False)
            held[task] = None
            moved += low[task].numbers.nbytes
        assert pool.moved_bytes == moved


def test_kinds_of_all_sizes_share_pages_and_a_batch_that_does_not_fit_is_refused() -> None:
    pages = sum(map(pages_of, ADAPTERS[:3]))
    pool = Pool(ADAPTERS, pages, "cpu")
    pool.hold([0, 1, 2])
    pool.hold([3, 4, 5])  # of the same kinds, in the pages of the others
    for task in (3, 4, 5):
        numbers = ADAPTERS[task].numbers.view(torch.int32)  # some are integers, bit by bit
        assert pool.gathered([task])[0, : len(numbers)].view(torch.int32).equal(numbers)
    with pytest.raises(NoRoom, match=f"4 tasks do not fit in {pages} pages"):
        pool.hold([0, 3, 4, 5])


def test_task_by_task_each_adapter_is_merged_once_and_gathered_all_share_passes() -> None:
    requests = asked([(number % 3, 2, 4) for number in range(9)])
    switched = SwitchedPasses(MODEL, ADAPTERS)
    served = serve(requests, 3, task_by_task, switched)
    assert len(served.passes) == 3 * 4
    assert switched.moved_bytes == 3 * sum(4 * size.d * size.k for size in SIZES)
    gathered = GatheredPasses(ManyTasks(MODEL, Pool.with_room_for(3, ADAPTERS, "cpu")))
    assert len(serve(requests, 3, iteration_level, gathered).passes) == 3 * 4
    assert gathered.moved_bytes == sum(adapter.numbers.nbytes for adapter in ADAPTERS[:3])
    # Each with an adapter of its own: one by one, or as many as there are slots.
    apart = asked([(task, 2, 4) for task in range(6)])
    for policy, passes in ((task_by_task, 6 * 4), (iteration_level, 2 * 4)):
        assert len(serve(apart, 3, policy, PricedPasses(1)).passes) == passes


def bench_of(low: list[Adapter], requests: list[Request], **given: int) -> Bench:
    """Return a bench of these adapters of low rank and requests."""
    p = MultiLoraParameters(**given)
    return Bench(p, MODEL, requests, low, ADAPTERS, torch.Generator().manual_seed(0))


def test_each_adapter_is_asked_for_by_as_many_and_bytes_held_are_of_the_whole_engine() -> None:
    low, requests = some_adapters(4, (LowRank(1),)), asked([(0, 8, 4)] * 16)
    held = {}
    for slots in (2, 4):
        bench = bench_of(low, requests, slots=slots, adapters=4, requests_each=4, spare=1)
        case = shared_case(bench, 4)
        assert Counter(request.task for request in case.requests) == dict.fromkeys(range(4), 4)
        held[slots] = held_bytes(bench, case)
    layers = sum(4 * size.d * size.k for size in SIZES)
    assert peak_bytes(lambda: SwitchedPasses(MODEL, ADAPTERS)) == layers
    cache = (
        (8 + 3) * 2 * CONFIG.layers * CONFIG.key_value_heads * (CONFIG.width // CONFIG.heads) * 4
    )
    assert held[2][SWITCH] >= bench.model_bytes + layers + 2 * cache
    assert held[2][GATHERED] >= bench.model_bytes + 3 * bench.adapter_bytes + 2 * cache
    assert held[4][SWITCH] >= held[2][SWITCH] + 2 * cache
    assert held[4][GATHERED] >= held[2][GATHERED] + bench.adapter_bytes + 2 * cache


@settings(max_examples=25)
@given(rows=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_layer_is_timed_at_the_same_product_in_every_way(rows: int, seed: int) -> None:
    layer, generator = MODEL.linears()["0.up"], torch.Generator().manual_seed(seed)
    x = torch.randn(rows, layer.in_features, generator=generator)
    runs = layer_runs(layer, x, LowRank(2), generator)
    expected = runs[SWITCH]()
    for name in (LOOP, GATHERED):
        torch.testing.assert_close(runs[name](), expected, atol=1e-5, rtol=1e-5)


def test_where_no_task_fits_beside_a_batch_none_is_run() -> None:
    requests = asked([(0, 2, 2)] * 64)
    bench = bench_of(some_adapters(64, (LowRank(16),)), requests, slots=64)
    report = Report(STUDY, lambda event: None)
    assert fill(bench, report) == 0
    found = {(row.metric, row.variant): row.value for row in report.measurements}
    assert found == {("tasks that fit", COPIES): COPIES_THAT_FIT, ("tasks that fit", GATHERED): 0}


def test_tasks_that_fit_are_run_within_the_bytes_of_eight_copies() -> None:
    low = some_adapters(4, (LowRank(1),))
    requests = asked([(0, 2 + number, 3) for number in range(4)])
    bench = bench_of(low, requests, slots=3)
    report = Report(STUDY, lambda event: None)
    fit = fill(bench, report)
    found = {(row.metric, row.variant): row.value for row in report.measurements}
    assert found["tasks that fit", COPIES] == COPIES_THAT_FIT
    assert found["tasks that fit", GATHERED] == fit
    assert found["tasks that answer alike", GATHERED] == 1
    assert 0.9 < found["share of the cap", GATHERED] <= 1
    assert fit <= (COPIES_THAT_FIT - 1) * bench.model_bytes / bench.adapter_bytes


ONCE = {
    ("gain over each alone", GATHERED): 3.0,
    ("gain over each alone", LOOP): 2.0,
    ("gain over each alone", BACKBONE): 4.0,
    ("same tokens", GATHERED): 1.0,
    ("added time", GATHERED): 20.0,
    ("time per token", BACKBONE): 5.0,
    ("adapter size", GATHERED): 1.1,
    ("tasks that fit", GATHERED): 200.0,
    ("tasks that fit", COPIES): 8.0,
    ("tasks that answer alike", GATHERED): 1.0,
    ("share of the cap", GATHERED): 1.0,
}
AT_64 = {
    ("speed-up", GATHERED): 2.0,
    ("memory held", GATHERED): 20.0,
    ("memory held", SWITCH): 20.0,
    ("bytes moved", GATHERED): 10.0,
    ("bytes moved", SWITCH): 800.0,
}
GAIN = "gain over task by task", GATHERED
MEASURED: tuple[tuple[dict[tuple[str, str], float], dict[str, int]], ...] = (
    (ONCE, {}),
    (AT_64, {"adapters": 64}),
    ({GAIN: 1.2}, {"queries": 4}),
    ({GAIN: 1.2}, {"queries": 1}),
)
PUNICA = {"chen2023punica-0", "chen2023punica-1"}
SLORA, TASKS = {"sheng2023slora-0"}, {"zhou2022pets-0"}
QUERIES = {"zhou2022pets-1", "zhou2022pets-2"}
AGREES, NOT, UNSAID = "direction agrees", "not reproduced", "not run"


def judged(changed: dict[tuple[str, str], float], **parameters: int) -> dict[str, str]:
    """Return how the claims stand beside a run that measured the least that agrees, but these."""
    rows = [
        (*key, changed.get(key, value), settings)
        for values, settings in MEASURED
        for key, value in values.items()
    ]
    return statuses(STUDY, rows, **parameters)


def test_every_claim_agrees_with_the_least_that_its_rule_asks_for() -> None:
    assert set(judged({}).values()) == {AGREES}


@pytest.mark.parametrize(
    ("metric", "value", "claims", "status"),
    [
        ("gain over each alone", 2.99, {"chen2023punica-0"}, NOT),
        ("added time", 20.1, {"chen2023punica-1"}, NOT),
        ("speed-up", 1.99, SLORA, NOT),
        ("memory held", 20.1, SLORA, UNSAID),
        ("tasks that fit", 199.0, TASKS, NOT),
        ("tasks that answer alike", 0.999, TASKS, NOT),
        ("share of the cap", 1.01, TASKS, NOT),
        ("adapter size", 2.0, TASKS, UNSAID),
        ("gain over task by task", 1.19, QUERIES, NOT),
    ],
)
def test_a_claim_falls_with_the_number_that_its_rule_names(metric, value, claims, status) -> None:
    found = judged({(metric, GATHERED): value})
    assert {claim for claim, own in found.items() if own != AGREES} == claims
    assert {found[claim] for claim in claims} == {status}


def test_slora_is_judged_only_where_each_adapter_has_four_requests() -> None:
    found = judged({}, requests_each=3)
    assert {claim for claim, own in found.items() if own == UNSAID} == SLORA
    # 64 of 256 adapters have four requests each where all have one.
    assert set(judged({}, adapters=256, requests_each=1).values()) == {AGREES}


def test_punica_is_judged_by_a_batch_of_16_only() -> None:
    found = judged({}, slots=8)
    assert {claim for claim, own in found.items() if own == UNSAID} == PUNICA
