"""Automatic parallelism: searches against all plans, published plans, and plans on ranks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.contract import Judgement
from casestudies.lab.distributed.ranks import RanksFailed, on_ranks
from casestudies.lab.equations.parameters import gpt_parameters
from casestudies.lab.replay.schedules import one_forward_one_backward, replayed
from casestudies.lab.result import Result
from casestudies.lab.studies.auto_parallel import cases, degrees, execution, stages
from casestudies.lab.studies.auto_parallel.about import STUDY
from casestudies.lab.studies.auto_parallel.claims import LEAST
from casestudies.lab.studies.auto_parallel.execution import Work
from casestudies.lab.studies.auto_parallel.models import Shape
from casestudies.lab.studies.auto_parallel.stages import Layer, Problem, Stage
from casestudies.lab.studies.auto_parallel.study import apart, bytes_sent
from casestudies.lab.studies.auto_parallel.uneven import NAMES
from tests.lab.smoke import shares_the_smoke_run, smoke_run

on_several_ranks = pytest.mark.xdist_group("ranks")
sizes = st.floats(0.1, 5)
layers = st.builds(Layer, sizes, sizes, sizes, sizes)
problems = st.builds(
    Problem,
    st.lists(layers, min_size=1, max_size=5),
    st.integers(1, 4),
    st.integers(1, 12),
    st.floats(0.1, 100),
    st.floats(5, 100),
)


@settings(max_examples=100)
@given(problem=problems)
def test_the_dynamic_program_finds_what_trying_all_plans_does(problem: Problem) -> None:
    found, best = stages.search(problem), stages.exhaustive(problem)
    if found is None or best is None:
        assert found is best
    else:
        assert problem.fits(found)
        assert problem.step_seconds(found) == pytest.approx(problem.step_seconds(best))


@settings(max_examples=100)
@given(problem=problems)
def test_pipedreams_planner_makes_the_slowest_stage_as_fast_as_any_plan_does(
    problem: Problem,
) -> None:
    def slowest(plan: stages.Plan) -> float:
        found = [problem.sending(stage.end) for stage in plan]
        for stage in plan:
            sent = 2 * (stage.ranks - 1) * problem.weight_bytes(stage) / problem.link_rate
            found.append(max(problem.seconds(stage), sent / stage.ranks))
        return max(found)

    every = list(stages.every_plan(problem))
    assert len(every) == len(set(every))
    own = stages.pipedream(problem)
    assert own in every
    assert slowest(own) == pytest.approx(min(map(slowest, every)))


def test_a_boundary_is_passed_by_what_the_layer_before_it_makes_there_and_back() -> None:
    problem = Problem([Layer(1, 1, made) for made in (2, 3, 5)], 2, 1, link_rate=4)
    assert [problem.sending(end) for end in range(4)] == [0, 1, 1.5, 0]


def test_random_problems_try_both_searches_and_some_fit_no_memory() -> None:
    for compare in (cases.compare_stages, cases.compare_degrees):
        found = compare(seed=0, cases=200)
        assert (found.mismatches, found.over_memory) == (0, 0)
        assert 20 <= found.impossible <= 120


def test_a_search_that_is_wrong_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "search", lambda problem: next(stages.every_plan(problem)))
    found = cases.compare_stages(seed=0, cases=20)
    assert found.mismatches
    assert found.over_memory


def test_the_bound_of_the_branches_is_below_every_plan() -> None:
    for row in degrees.MEGATRON[:4]:
        cluster = row.cluster
        for plan in degrees.every_plan(row.training, cluster):
            least = degrees.least_seconds(row.training, cluster, plan[:3])
            assert least <= degrees.step_seconds(row.training, cluster, plan) * (1 + 1e-9)


@pytest.mark.parametrize("row", degrees.MEGATRON, ids=lambda row: f"{row.billions}B")
def test_published_plans_are_plans_of_the_search(row: degrees.Published) -> None:
    t = row.training
    parameters = gpt_parameters(
        layers=t.layers, hidden=t.hidden, vocabulary=t.vocabulary, tokens=t.tokens
    )
    assert parameters / 1e9 == pytest.approx(row.billions, rel=0.03)
    assert row.shape in degrees.shapes(t, row.cluster)
    best, priced = degrees.search(t, row.cluster, keep=3)
    every = degrees.exhaustive(t, row.cluster)
    assert best == every[:3]
    assert priced <= len(list(degrees.every_plan(t, row.cluster)))


@given(
    taken=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    micro_batches=st.integers(1, 20),
)
def test_the_price_of_a_pipeline_is_what_a_replay_of_its_order_takes(
    taken: list[int], micro_batches: int
) -> None:
    """Stages whose passes back are twice as long as those forward, over links that cost nothing."""
    problem = Problem([Layer(3 * n, 1, 0) for n in taken], len(taken), micro_batches, 1)
    plan = tuple(Stage(n, n + 1, 1) for n in range(len(taken)))
    order = one_forward_one_backward(len(taken), micro_batches)
    found = replayed(
        order, len(taken), lambda slot: taken[slot.stage] * (1 if slot.kind == "forward" else 2)
    )
    assert found.duration <= problem.step_seconds(plan)
    if len(set(taken)) == 1:
        assert found.duration == problem.step_seconds(plan)
    if len(taken) <= 2:  # as many as are timed
        late = sum(layer.seconds for layer in problem.layers)
        assert found.duration - late <= stages.dapple_seconds(problem, plan) <= found.duration


@given(problem=problems)
def test_dapples_formula_is_below_the_price_by_no_more_than_passes_once(problem: Problem) -> None:
    for plan in stages.every_plan(problem):
        price, by_dapple = problem.step_seconds(plan), stages.dapple_seconds(problem, plan)
        once = sum(problem.seconds(stage) + problem.sending(stage.end) for stage in plan)
        longest = max(problem.adding_up(stage) for stage in plan)
        assert price - once - longest <= by_dapple * (1 + 1e-9) <= price * (1 + 2e-9)


@pytest.mark.parametrize(
    ("taken", "by_dapple", "price"),
    [((1, 3), 39, 39), ((3, 1), 36, 39), ((2, 2), 30, 30), ((1, 3, 2), 39, 45)],
)
def test_dapples_formula_counts_stages_to_the_pivot(
    taken: tuple[int, ...], by_dapple: float, price: float
) -> None:
    """Four micro-batches; behind a slow stage the last costs nothing."""
    problem = Problem([Layer(3 * n, 1, 0) for n in taken], len(taken), 4, 1)
    plan = tuple(Stage(n, n + 1, 1) for n in range(len(taken)))
    assert stages.dapple_seconds(problem, plan) == pytest.approx(by_dapple)
    assert problem.step_seconds(plan) == price


def some_work(micro_batches: int = 4) -> Work:
    tokens = np.random.default_rng(0).integers(0, 50, (micro_batches, 2, 9))
    return Work(Shape.named("tapering", 50, 32, 0), tokens, 1e9)


PLANS: dict[int, dict[str, stages.Plan]] = {
    1: {"one process": (Stage(0, 8, 1),)},
    2: {"copies": (Stage(0, 8, 2),), "stages": (Stage(0, 2, 1), Stage(2, 8, 1))},
    4: {
        "both": (Stage(0, 4, 2), Stage(4, 8, 2)),
        "stages": (Stage(0, 1, 1), Stage(1, 4, 1), Stage(4, 7, 1), Stage(7, 8, 1)),
    },
}


@on_several_ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_plans_on_ranks_give_what_one_process_does_and_send_what_equations_say(ranks: int) -> None:
    work = some_work()
    (plain,) = on_ranks(1, execution.train, work, PLANS[1])
    of_ranks = on_ranks(ranks, execution.train, work, PLANS[ranks])
    sizes = [sum(w.nbytes for w in layer.parameters()) for layer in work.shape.layers()]
    problem = Problem([Layer(1, size, 1) for size in sizes], ranks, work.micro_batches, 1)
    for name, plan in PLANS[ranks].items():
        found = [of_rank[name] for of_rank in of_ranks]
        assert apart(found, plain["one process"]) < 1e-5
        sent = sum(rank.bytes_sent for rank in found)
        assert sent == bytes_sent(work, problem, plan) > 0


@on_several_ranks
def test_stages_of_unlike_numbers_of_ranks_are_refused() -> None:
    plan = {"uneven": (Stage(0, 4, 1), Stage(4, 8, 2))}
    with pytest.raises(RanksFailed, match="equally many ranks for all stages"):
        on_ranks(3, execution.train, some_work(), plan)


def judged_with(ratios: tuple[float, ...], **parameters: int) -> Judgement:
    """Return how the claim stands if a run of a larger workload had found these ratios."""
    result = smoke_run(STUDY.slug).result
    found = dict(zip(NAMES, ratios, strict=True))
    changed = [
        row.model_copy(update={"value": found[str(row.settings["model"])]})
        if (row.metric, row.variant) == ("speed-up", "searched plan")
        else row
        for row in result.measurements
    ]
    workload = {**result.parameters, **LEAST, **parameters}
    update = {"measurements": changed, "parameters": workload}
    other: Result = result.model_copy(update=update)
    return STUDY.judge(other)["fan2020dapple-0"]


@shares_the_smoke_run(STUDY.slug)
@pytest.mark.parametrize(
    ("ratios", "status"),
    [
        ((1.1, 1.0, 0.953), "direction agrees"),
        ((1.0, 1.0, 5.0), "direction agrees"),
        ((1.099, 1.0, 1.0), "not reproduced"),
        ((1.5, 1.0, 0.952), "not reproduced"),
    ],
)
def test_the_claim_stands_as_its_rule_says(ratios: tuple[float, ...], status: str) -> None:
    found = judged_with(ratios)
    assert found.status == status
    assert found.numbers[-1].value == max(ratios)


@shares_the_smoke_run(STUDY.slug)
@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_a_small_workload_decides_no_claim(name: str, least: int) -> None:
    assert judged_with((1.5, 1.5, 1.5), **{name: least - 1}).status == "not run"


@shares_the_smoke_run(STUDY.slug)
def test_a_run_says_how_often_searches_were_wrong_and_that_like_plans_are_alike() -> None:
    result = smoke_run(STUDY.slug).result
    for search in ("stages", "degrees"):
        assert result.value("mismatches", "searched plan", search=search) == 0
        assert result.value("plans over memory", "searched plan", search=search) == 0
    for name in NAMES:
        assert result.value("equality error", "searched plan", model=name) < 1e-5
        predicted = result.value("predicted speed-up", "searched plan", model=name)
        assert predicted >= 1
        assert 1 <= result.value("time over DAPPLE's best", "searched plan", model=name) < 1.5
        if predicted == 1:
            assert result.value("speed-up", "searched plan", model=name) == 1
