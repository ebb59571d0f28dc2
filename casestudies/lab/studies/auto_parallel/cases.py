"""Small problems drawn at random, and whether a search finds on them what trying all plans does."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose

from numpy.random import Generator, default_rng

from casestudies.lab.studies.auto_parallel import degrees, stages
from casestudies.lab.studies.auto_parallel.degrees import Cluster, Training
from casestudies.lab.studies.auto_parallel.stages import Layer, Problem

# Between what, or from what, each number of a random problem is drawn: of stages,
RANKS, LAYERS, MICRO_BATCHES, LINK_RATES = (1, 5), (1, 7), (1, 13), (0.5, 2.0, 8.0, 100.0)
SECONDS, WEIGHTS, OUTPUT, KEPT, MEMORY = (0.2, 3), (0.1, 5), (0.1, 2), (0.1, 3), (5, 60)
# and of degrees, a job and a cluster, whose rates and memory are powers of 10 and 2.
DEPTHS, WIDTHS, HEADS = (2, 4, 6, 12), (64, 128, 256), (4, 6, 8)
VOCABULARIES, TOKENS, BATCHES = (512, 8_192), (64, 256), (8, 12, 24, 32)
DEVICES, NODES = (1, 2, 4, 6, 8, 12, 16, 24), (1, 2, 4, 8)
DEVICE_MEMORY, RATE, NEAR, FAR = (20, 28), (10, 13), (9, 11), (8, 10)


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
            seconds=draw.uniform(*SECONDS),
            weight_bytes=draw.uniform(*WEIGHTS),
            output_bytes=draw.uniform(*OUTPUT),
            kept_bytes=draw.uniform(*KEPT),
        )
        for _ in range(draw.integers(*LAYERS))
    ]
    return Problem(
        layers,
        ranks=int(draw.integers(*RANKS)),
        micro_batches=int(draw.integers(*MICRO_BATCHES)),
        link_rate=float(draw.choice(LINK_RATES)),
        memory=draw.uniform(*MEMORY),
    )


def random_job(draw: Generator) -> tuple[Training, Cluster]:
    """Return a small GPT on up to 24 devices, with memory between too little and enough for all."""

    def one_of(numbers: Sequence[int]) -> int:
        return int(draw.choice(numbers))

    training = Training(
        layers=one_of(DEPTHS),
        hidden=one_of(WIDTHS),
        heads=one_of(HEADS),
        vocabulary=one_of(VOCABULARIES),
        tokens=one_of(TOKENS),
        batch=one_of(BATCHES),
    )
    cluster = Cluster(
        devices=one_of(DEVICES),
        node=one_of(NODES),
        memory=2 ** draw.uniform(*DEVICE_MEMORY),
        rate=10 ** draw.uniform(*RATE),
        near=10 ** draw.uniform(*NEAR),
        far=10 ** draw.uniform(*FAR),
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
