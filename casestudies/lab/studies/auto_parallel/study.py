"""Searches plans, holds the search against all plans, and carries plans out on two ranks."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.equations.communication import all_reduce_bytes, boundary_bytes
from casestudies.lab.measure.differences import largest_relative_difference
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.report import Report
from casestudies.lab.studies.auto_parallel import cases, degrees, execution, stages
from casestudies.lab.studies.auto_parallel.about import PlanParameters
from casestudies.lab.studies.auto_parallel.execution import Gradients, Stepped, Work
from casestudies.lab.studies.auto_parallel.models import Shape
from casestudies.lab.studies.auto_parallel.stages import Plan, Problem, Stage
from casestudies.lab.studies.auto_parallel.uneven import NAMES
from casestudies.lab.train.loop import drawn

VOCABULARY = 512
RANKS = 2
PROFILES = 10  # times that each layer is profiled
MIB, MB = 2**20, 1e6
SEARCHED, PIPEDREAM, ANY = "searched plan", "pipedream", "any plan"
LINKS = tuple(10 ** (n / 8) for n in range(8, 33))  # MB/s, 10 to 10,000
RECOMPUTE: Mapping[str, tuple[degrees.Recompute, ...]] = {
    "as searched": ("nothing", "attention", "layers"),
    "all layers, as published": ("layers",),
}


def run(parameters: PlanParameters, setup: Setup, report: Report) -> str:
    """Measure all; return the verdict.

    Raises RanksFailed if a rank ends early, and ValueError if one sends what no equation says.
    """
    p = parameters
    with report.stage("holding searches against all plans", 0.05):
        wrong = report_searches(p, setup.seed, report)
    with report.stage("pricing published plans", 0.05):
        places = report_published(report)
    with report.stage("reading the text and training a tokenizer", 0.05):
        works = prepared(p, setup, report)
    with report.stage("profiling layers and planning", 0.1) as stage:
        planned = {}
        for done, (name, work) in enumerate(works.items()):
            stage.at(done / len(works), name)
            planned[name] = plan(work)
            report_plans(name, planned[name], report)
    with report.stage("training on one process and on ranks", 0.15):
        error = max(compare(name, works[name], planned[name], report) for name in NAMES)
    with report.stage("timing steps on two ranks", 0.6) as stage:
        faster = {}
        for done, name in enumerate(NAMES):
            stage.at(done / len(NAMES), name)
            faster[name] = report_times(name, works[name], planned[name], p.rounds, report)
    return verdict(wrong, places, planned, error, faster)


@dataclass(frozen=True)
class Planned:
    """What is planned for a model, and its plans."""

    problem: Problem
    plans: Mapping[str, Plan]

    @property
    def agree(self) -> bool:
        """Return whether both planners chose the same."""
        return self.plans[SEARCHED] == self.plans[PIPEDREAM]


def report_searches(p: PlanParameters, seed: int, report: Report) -> str:
    """Report how often the searches are wrong, and return it in words."""
    compared = {
        "stages": cases.compare_stages(seed, p.cases),
        "degrees": cases.compare_degrees(seed, p.cases),
    }
    for what, found in compared.items():
        report.measure("mismatches", SEARCHED, found.mismatches, search=what)
        report.measure("plans over memory", SEARCHED, found.over_memory, search=what)
        report.log(f"{what}: no plan fits in {found.impossible} of {p.cases} problems")
    wrong = sum(found.mismatches + found.over_memory for found in compared.values())
    return f"{wrong} times on {p.cases} problems of each kind"


def report_published(report: Report) -> dict[str, list[int]]:
    """Report where Megatron-LM's plans stand among all; return their ranks, the smallest first."""
    places: dict[str, list[int]] = {}
    for way, allowed in RECOMPUTE.items():
        for row in degrees.MEGATRON:
            training = replace(row.training, recompute=allowed)
            every = degrees.exhaustive(training, row.cluster)
            place = [priced.plan[:3] for priced in every].index(row.shape)
            at = {"size": row.billions, "recompute": way}
            over = every[place].seconds / every[0].seconds
            report.measure("rank of the plan", "published plan", place + 1, **at)
            report.measure("time over the best", "published plan", over, **at)
            report.point("rank by size", "published plan", row.billions, place + 1, recompute=way)
            priced = degrees.search(training, row.cluster)[1]
            share = priced / len(list(degrees.every_plan(training, row.cluster)))
            report.measure("plans priced", SEARCHED, share, **at)
            places.setdefault(way, []).append(place + 1)
    return places


def prepared(p: PlanParameters, setup: Setup, report: Report) -> dict[str, Work]:
    """Return what is trained by the models' names; raise ValueError if the text is too short."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    report.precision = "float32"
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows = text.windows(corpus.calibration, tokenizer, p.window + 1)
    generator = torch.Generator().manual_seed(setup.seed)
    batch = next(drawn(windows, generator, p.sequences * p.micro_batches)).numpy()
    batch = batch.reshape(p.micro_batches, p.sequences, p.window + 1)
    rows = tokenizer.get_vocab_size()
    return {
        name: Work(Shape.named(name, rows, p.width, setup.seed), batch, p.link * MB, setup.device)
        for name in NAMES
    }


def plan(work: Work) -> Planned:
    """Return the plans of both planners, by the costs of layers that are profiled now."""
    profiled = on_ranks(RANKS, execution.profile, work, PROFILES)
    layers = [
        replace(of_ranks[0], seconds=statistics.mean(layer.seconds for layer in of_ranks))
        for of_ranks in zip(*profiled, strict=True)
    ]
    problem = Problem(layers, RANKS, work.micro_batches, work.link_rate)
    return Planned(problem, {SEARCHED: searched(problem), PIPEDREAM: stages.pipedream(problem)})


def report_plans(name: str, planned: Planned, report: Report) -> None:
    """Report what the plans should cost, over this link and others."""
    problem = planned.problem
    for planner, chosen in planned.plans.items():
        report.log(f"{name}, {planner}: {in_words(chosen)}")
        predicted = problem.step_seconds(chosen)
        report.measure_time("predicted step time", planner, predicted, model=name)
    for possible in stages.every_plan(problem):
        at = {"model": name, "time": "predicted"}
        predicted = 1000 * problem.step_seconds(possible)
        report.point("step time by cut", ANY, possible[0].end, predicted, **at)
    report.measure("predicted speed-up", SEARCHED, predicted_speed_up(problem), model=name)
    by_dapple = {one: stages.dapple_seconds(problem, one) for one in stages.every_plan(problem)}
    over = by_dapple[planned.plans[SEARCHED]] / min(by_dapple.values())
    report.measure("time over DAPPLE's best", SEARCHED, over, model=name)
    for link in LINKS:
        ratio = predicted_speed_up(replace(problem, link_rate=link * MB))
        report.point("speed-up by link", SEARCHED, link, ratio, model=name)


def predicted_speed_up(problem: Problem) -> float:
    """Return how much longer a step by PipeDream's plan should take than one by the search's."""
    by_pipedream = problem.step_seconds(stages.pipedream(problem))
    return by_pipedream / problem.step_seconds(searched(problem))


def searched(problem: Problem) -> Plan:
    """Return the plan that the search finds; raise ValueError if none fits the memory."""
    found = stages.search(problem)
    if found is None:
        raise ValueError("no plan fits the memory")
    return found


def in_words(chosen: Plan) -> str:
    """Return a plan as layers and ranks: "layers 1-5 on 1 rank, 6-8 on 1 rank"."""
    return "; ".join(
        f"layers {stage.first + 1} to {stage.end} on"
        f" {stage.ranks} {'rank' if stage.ranks == 1 else 'ranks'}"
        for stage in chosen
    )


def compare(name: str, work: Work, planned: Planned, report: Report) -> float:
    """Report how far steps by all plans are from one process; return the largest difference."""
    alone = {"one process": (Stage(0, len(planned.problem.layers), 1),)}
    (plain,) = (found["one process"] for found in on_ranks(1, execution.train, work, alone))
    of_ranks = on_ranks(RANKS, execution.train, work, planned.plans)
    report.measure("training loss", "one process", plain.loss, model=name)
    errors = {}
    for planner, chosen in planned.plans.items():
        found = [of_rank[planner] for of_rank in of_ranks]
        errors[planner] = apart(found, plain)
        loss = sum(rank.loss for rank in found)
        report.measure("training loss", planner, loss, model=name)
        sent = sum(rank.bytes_sent for rank in found) / RANKS
        if sent != (expected := bytes_sent(work, planned.problem, chosen) / RANKS):
            raise ValueError(f"a rank sent {sent} bytes, where the equations say {expected}")
        report.measure("equality error", planner, errors[planner], model=name)
        report.measure("bytes sent", planner, sent / MIB, model=name)
    return max(errors.values())


def apart(found: list[Stepped], plain: Stepped) -> float:
    """Return the largest relative difference of the loss or a gradient from one process."""
    gradients: Gradients = {}
    for rank in found:
        gradients |= rank.gradients
    loss = sum(rank.loss for rank in found)
    return largest_relative_difference([loss], gradients, [plain.loss], plain.gradients)


def bytes_sent(work: Work, problem: Problem, chosen: Plan) -> float:
    """Return the bytes that all ranks of a plan send in a step, by the equations."""
    m, sequences, length = work.batch.shape
    hidden = boundary_bytes(
        tokens=length - 1, batch=sequences, hidden=work.shape.width, number_bytes=4
    )
    added = sum(
        stage.ranks * all_reduce_bytes(ranks=stage.ranks, payload_bytes=problem.weight_bytes(stage))
        for stage in chosen
    )
    return 2 * m * hidden * (len(chosen) - 1) + added


def report_times(name: str, work: Work, planned: Planned, rounds: int, report: Report) -> float:
    """Report step times as the first rank saw them; return PipeDream's over the searched plan's."""
    chosen = dict(planned.plans)
    if planned.agree:
        del chosen[SEARCHED]  # one plan is one step, not two that noise makes unlike
    taken = on_ranks(RANKS, execution.take_time, work, chosen, rounds)[0]
    taken.setdefault(SEARCHED, taken[PIPEDREAM])
    for planner, times in taken.items():
        report.measure_time("step time", planner, times, model=name)
        median, one = statistics.median(times), planned.plans[planner]
        error = 100 * abs(planned.problem.step_seconds(one) / median - 1)
        report.measure("prediction error", planner, error, model=name)
        at = {"model": name, "time": "measured"}
        report.point("step time by cut", planner, one[0].end, 1000 * median, **at)
    speeds = ratios(taken, to=PIPEDREAM)[SEARCHED]
    report.measure("speed-up", SEARCHED, speeds, model=name)
    return statistics.median(speeds)


def verdict(
    wrong: str,
    places: Mapping[str, list[int]],
    planned: Mapping[str, Planned],
    error: float,
    faster: Mapping[str, float],
) -> str:
    """Return three sentences made of the run's own numbers."""
    as_published, free = places["all layers, as published"], places["as searched"]
    among = f"{sum(place <= 3 for place in as_published)} of {len(as_published)}"
    found = "; ".join(
        f"{name}: " + ("the same plan" if planned[name].agree else f"{ratio:.2f} times as fast")
        for name, ratio in faster.items()
    )
    return (
        f"The searches were wrong {wrong}. Of Megatron-LM's published"
        f" plans {among} are among the best three of the cost model if all layers are recomputed,"
        f" as they were, and {sum(place <= 3 for place in free)} if the search may choose that too."
        f" Measured against PipeDream's plan, with gradients equal but for {error:.0e}, the"
        f" searched plan is: {found}."
    )
