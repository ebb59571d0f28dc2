"""How many ranks split data, layers and depth: plans for a GPT, by the equations of the cost model.

A plan is Megatron-LM's: t ranks split each layer, p stages follow each other, d copies of all that
share the batch. Nothing runs here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from casestudies.lab.equations.activations import (
    full_recompute_activation_bytes,
    logit_bytes,
    selective_activation_bytes,
    tensor_parallel_activation_bytes,
)
from casestudies.lab.equations.communication import (
    all_reduce_seconds,
    boundary_bytes,
    tensor_parallel_bytes,
)
from casestudies.lab.equations.operations import (
    step_operations,
    step_operations_full,
    step_operations_selective,
)
from casestudies.lab.equations.parameters import gpt_parameters
from casestudies.lab.equations.pipeline import one_f_one_b_idle_share, one_f_one_b_live
from casestudies.lab.equations.training_memory import model_state_bytes

Recompute = Literal["nothing", "attention", "layers"]
STATE, GRADIENT = 18, 4  # bytes of a parameter with Adam, of which its gradient (Megatron)
# Of its peak, what an A100 attains while it computes. Whole steps of the published plans attained
# 44 to 52 %, waiting and sending included.
EFFICIENCY = 0.5
OPERATIONS = {
    "nothing": step_operations,
    "attention": step_operations_selective,
    "layers": step_operations_full,
}


@dataclass(frozen=True)
class Cluster:
    """Devices in nodes. `rate` is what a device attains, links are one direction, each device's."""

    devices: int
    node: int
    memory: float  # bytes
    rate: float  # operation/s
    near: float  # byte/s, within a node
    far: float  # byte/s, between nodes


@dataclass(frozen=True)
class Training:
    """A GPT, how many sequences of so many tokens a step has, and what may be computed again."""

    layers: int
    hidden: int
    heads: int
    vocabulary: int
    tokens: int
    batch: int
    recompute: tuple[Recompute, ...] = get_args(Recompute)


class Degrees(NamedTuple):
    """Copies, ranks of each layer, stages; what comes at one time, and what is computed twice."""

    data: int
    tensor: int
    stages: int
    micro_batch: int
    recompute: Recompute


Shape = tuple[int, int, int]  # data, tensor, stages


class Priced(NamedTuple):
    """A plan and the time of its step; of two the better is the smaller."""

    seconds: float
    plan: Degrees


def micro_batches(training: Training, plan: Degrees) -> int:
    """Return how many micro-batches each copy has in a step."""
    return training.batch // (plan.data * plan.micro_batch)


def held_bytes(training: Training, plan: Degrees) -> float:
    """Return the bytes of a device of the first stage, which holds most."""
    t, here = training, training.layers // plan.stages
    of_stage = gpt_parameters(
        layers=here, hidden=t.hidden, vocabulary=t.vocabulary, tokens=t.tokens
    )
    states = model_state_bytes(state_bytes=STATE, parameters=of_stage / plan.tensor)
    at_once = {"tokens": t.tokens, "batch": plan.micro_batch}
    whole = tensor_parallel_activation_bytes(
        **at_once, hidden=t.hidden, heads=t.heads, tensor_ranks=plan.tensor
    )
    kept = {
        "nothing": whole,
        "attention": selective_activation_bytes(
            **at_once, hidden=t.hidden, tensor_ranks=plan.tensor
        ),
        "layers": full_recompute_activation_bytes(**at_once, hidden=t.hidden),
    }[plan.recompute]
    again = 0 if plan.recompute == "nothing" else whole  # while a layer is computed again
    scores = logit_bytes(**at_once, vocabulary=t.vocabulary, tensor_ranks=plan.tensor)
    live = one_f_one_b_live(stages=plan.stages, micro_batches=micro_batches(training, plan), rank=0)
    return states + live * here * kept + again + (2 * scores if plan.stages == 1 else 0)


def step_seconds(training: Training, cluster: Cluster, plan: Degrees) -> float:
    """Return the time of a step: computing, sending within layers and on, waiting, adding up.

    The slowest stage sets the pace: the last, which has the scores of the vocabulary.
    """
    t, here, m = training, training.layers // plan.stages, micro_batches(training, plan)
    operations = OPERATIONS[plan.recompute](
        batch=plan.micro_batch,
        layers=here,
        tokens=t.tokens,
        hidden=t.hidden,
        vocabulary=t.vocabulary,
    )
    size = {"tokens": t.tokens, "batch": plan.micro_batch, "hidden": t.hidden}
    within = here * tensor_parallel_bytes(
        **size, tensor_ranks=plan.tensor, all_reduces=6 if plan.recompute == "layers" else 4
    )
    on = 2 * boundary_bytes(**size) if plan.stages > 1 else 0
    slot = (
        operations / (plan.tensor * cluster.rate)
        + within / (cluster.near if plan.tensor <= cluster.node else cluster.far)
        + on / (cluster.near if plan.tensor * plan.stages <= cluster.node else cluster.far)
    )
    passes = m * slot / (1 - one_f_one_b_idle_share(stages=plan.stages, micro_batches=m))
    return passes + _adding_up(training, cluster, plan)


def _adding_up(training: Training, cluster: Cluster, plan: Degrees) -> float:
    """Return the time in which the copies add up the gradients of the first stage."""
    if plan.data == 1:
        return 0.0
    t, here = training, training.layers // plan.stages
    of_stage = gpt_parameters(
        layers=here, hidden=t.hidden, vocabulary=t.vocabulary, tokens=t.tokens
    )
    return all_reduce_seconds(
        ranks=plan.data,
        payload_bytes=GRADIENT * of_stage / plan.tensor,
        latency_seconds=0,
        link_rate=cluster.near if cluster.devices <= cluster.node else cluster.far,
    )


def least_seconds(training: Training, cluster: Cluster, shape: Shape) -> float:
    """Return what no plan of this shape is faster than: computing once, in the smallest pieces."""
    data, tensor, stages = shape
    slot = step_operations(
        batch=1,
        layers=training.layers // stages,
        tokens=training.tokens,
        hidden=training.hidden,
        vocabulary=training.vocabulary,
    ) / (tensor * cluster.rate)
    return (training.batch // data + stages - 1) * slot


def shapes(training: Training, cluster: Cluster) -> Iterator[Shape]:
    """Yield how all devices may be shared: t divides heads and width, p layers, d the batch."""
    for tensor in _divisors(cluster.devices):
        for stages in _divisors(cluster.devices // tensor):
            data = cluster.devices // tensor // stages
            if not (training.heads % tensor or training.layers % stages or training.batch % data):
                yield data, tensor, stages


def search(training: Training, cluster: Cluster, keep: int = 1) -> tuple[list[Priced], int]:
    """Return the fastest plans that fit, at most one of each shape, and how many were priced.

    Branch and bound. Shapes come in the order of their bounds, and the search ends at the first
    whose bound is above the slowest plan kept. A micro-batch that does not fit ends its row.
    """
    bounds = sorted((least_seconds(training, cluster, s), s) for s in shapes(training, cluster))
    kept: list[Priced] = []
    priced = 0
    for bound, shape in bounds:
        if len(kept) == keep and bound > kept[-1].seconds:
            break
        found: list[Priced] = []
        for recompute in training.recompute:
            for micro_batch in _divisors(training.batch // shape[0]):
                plan = Degrees(*shape, micro_batch, recompute)
                if held_bytes(training, plan) > cluster.memory:
                    break
                priced += 1
                found.append(Priced(step_seconds(training, cluster, plan), plan))
        kept = sorted([*kept, *sorted(found)[:1]])[:keep]
    return kept, priced


def every_plan(training: Training, cluster: Cluster) -> Iterable[Degrees]:
    """Yield all plans, also those that do not fit."""
    for shape in shapes(training, cluster):
        for micro_batch in _divisors(training.batch // shape[0]):
            for recompute in training.recompute:
                yield Degrees(*shape, micro_batch, recompute)


def exhaustive(training: Training, cluster: Cluster) -> list[Priced]:
    """Return the fastest plan that fits of every shape, the fastest first; all are priced."""
    best: dict[Shape, Priced] = {}
    for plan in every_plan(training, cluster):
        if held_bytes(training, plan) <= cluster.memory:
            shape, priced = plan[:3], Priced(step_seconds(training, cluster, plan), plan)
            best[shape] = min(best.get(shape, priced), priced)
    return sorted(best.values())


class Published(NamedTuple):
    """A row of Narayanan et al. 2021, table 1: a GPT and its plan.

    Degrees, heads and batches are from memory; sizes and devices agree with what was read.
    """

    billions: float
    heads: int
    hidden: int
    layers: int
    tensor: int
    stages: int
    devices: int
    batch: int

    @property
    def training(self) -> Training:
        return Training(self.layers, self.hidden, self.heads, 51_200, 2_048, self.batch)

    @property
    def shape(self) -> Shape:
        return self.devices // self.tensor // self.stages, self.tensor, self.stages

    @property
    def cluster(self) -> Cluster:
        """Return Selene's devices: A100 of 80 GB, eight a node, each with a link of 200 Gb/s."""
        return Cluster(self.devices, 8, 80 * 2**30, EFFICIENCY * 312e12, 300e9, 25e9)


MEGATRON = (
    Published(1.7, 24, 2304, 24, 1, 1, 32, 512),
    Published(3.6, 32, 3072, 30, 2, 1, 64, 512),
    Published(7.5, 32, 4096, 36, 4, 1, 128, 512),
    Published(18.4, 48, 6144, 40, 8, 1, 256, 1024),
    Published(39.1, 64, 8192, 48, 8, 2, 512, 1536),
    Published(76.1, 80, 10240, 60, 8, 4, 1024, 1792),
    Published(145.6, 96, 12288, 80, 8, 8, 1536, 2304),
    Published(310.1, 128, 16384, 96, 8, 16, 1920, 2160),
    Published(529.6, 128, 20480, 105, 8, 35, 2520, 2520),
    Published(1008.0, 160, 25600, 128, 8, 64, 3072, 3072),
)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
