"""Small problems drawn at random, and whether a search finds on them what trying all plans does."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from numpy.random import Generator, default_rng

from casestudies.lab.studies.auto_parallel import degrees, stages
from casestudies.lab.studies.auto_parallel.degrees import Cluster, Training
from casestudies.lab.studies.auto_parallel.stages import Layer, Problem


@dataclass(frozen=True)
class Compared:
    """Problems of one kind, those that no plan fits, and those on which the search was wrong."""

    impossible: int
    mismatches: int
    over_memory: int


def random_problem(draw: Generator) -> Problem:
    """Return up to six uneven layers on up to four ranks; some fit no memory."""
    layers = [
        Layer(
            seconds=draw.uniform(0.2, 3),
            weight_bytes=draw.uniform(0.1, 5),
            output_bytes=draw.uniform(0.1, 2),
            kept_bytes=draw.uniform(0.1, 3),
        )
        for _ in range(draw.integers(1, 7))
    ]
    return Problem(
        layers,
        ranks=int(draw.integers(1, 5)),
        micro_batches=int(draw.integers(1, 13)),
        link_rate=float(draw.choice([0.5, 2, 8, 100])),
        memory=draw.uniform(5, 60),
    )


def random_job(draw: Generator) -> tuple[Training, Cluster]:
    """Return a small GPT on up to 24 devices, with memory between too little and enough for all."""

    def one_of(numbers: Sequence[int]) -> int:
        return int(draw.choice(numbers))

    training = Training(
        layers=one_of([2, 4, 6, 12]),
        hidden=one_of([64, 128, 256]),
        heads=one_of([4, 6, 8]),
        vocabulary=one_of([512, 8_192]),
        tokens=one_of([64, 256]),
        batch=one_of([8, 12, 24, 32]),
    )
    cluster = Cluster(
        devices=one_of([1, 2, 4, 6, 8, 12, 16, 24]),
        node=one_of([1, 2, 4, 8]),
        memory=2 ** draw.uniform(20, 28),
        rate=10 ** draw.uniform(10, 13),
        near=10 ** draw.uniform(9, 11),
        far=10 ** draw.uniform(8, 10),
    )
    return training, cluster


def compare_stages(seed: int, cases: int) -> Compared:
    """Hold the dynamic program of `stages` against all plans, priced one by one."""
    draw = default_rng(seed)
    impossible = wrong = over = 0
    for _ in range(cases):
        problem = random_problem(draw)
        found, best = stages.search(problem), stages.exhaustive(problem)
        impossible += best is None
        if found is None or best is None:
            wrong += found is not best
            continue
        over += not problem.fits(found)
        wrong += not isclose(problem.step_seconds(found), problem.step_seconds(best))
    return Compared(impossible, wrong, over)


def compare_degrees(seed: int, cases: int, keep: int = 3) -> Compared:
    """Hold the branch and bound of `degrees` against all plans: its best few, in their order."""
    draw = default_rng(seed)
    impossible = wrong = over = 0
    for _ in range(cases):
        training, cluster = random_job(draw)
        found, _ = degrees.search(training, cluster, keep)
        best = degrees.exhaustive(training, cluster)
        impossible += not best
        wrong += not _same([p.seconds for p in found], [p.seconds for p in best[:keep]])
        over += any(degrees.held_bytes(training, p.plan) > cluster.memory for p in found)
    return Compared(impossible, wrong, over)


def _same(found: Sequence[float], expected: Sequence[float]) -> bool:
    return len(found) == len(expected) and all(map(isclose, found, expected))
