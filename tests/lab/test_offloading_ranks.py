"""States on the host of several devices: the same training, and the bytes that are published."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor

from casestudies.lab.contract import Judgement
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.result import Result
from casestudies.lab.studies.offloading import over_the_link, ranks
from casestudies.lab.studies.offloading.about import GATHERED, HERE, HOST, STAGES, STUDY
from casestudies.lab.studies.offloading.ranks import Carried
from casestudies.lab.studies.offloading.states import RATE, Task
from casestudies.lab.studies.offloading.training import units_of
from casestudies.lab.train import loop
from casestudies.lab.train.adamw import BETAS
from tests.lab.declared import document

pytestmark = pytest.mark.xdist_group("ranks")

WORLD, SEQUENCES, TOKENS, WIDTH = 2, 4, 8, 64


def a_task(layers: int) -> Task:
    generator = torch.Generator().manual_seed(1)
    batches = torch.randint(96, (2, SEQUENCES, TOKENS + 1), generator=generator)
    return Task(96, WIDTH, layers, batches.numpy(), 0, 1024)


def test_split_matrices_train_alike_with_the_optimizer_on_the_host_and_hold_an_eighth() -> None:
    for held in on_ranks(WORLD, ranks.split_matrices, a_task(4)):
        assert held.apart == 0
        assert held.states[HERE] == 16
        units = [len(unit) for unit in units_of(a_task(4).model())]
        # Weights, and the gradients of a block and of the ends, of which each rank has all.
        assert 2 < held.states[HOST] < 2 + 2 * (units[0] + units[1]) / (units[0] + 4 * units[1] / 2)


def far_off(task: Task, found: list[Carried]) -> float:
    """Return the share of weights that are not where one process takes them."""
    alone = task.train(HERE).weights
    off = torch.cat(
        [
            (torch.from_numpy(piece[0]) - alone[first : first + piece.shape[1]]).abs()
            for one in found
            for first, piece in one.pieces
        ]
    )
    assert len(off) >= len(alone), "no weight is left out"
    # Adam moves a weight by the rate, if its gradient is not nothing.
    return (off > RATE / 2).float().mean().item()


@pytest.mark.parametrize("way", [ranks.gather, ranks.take_turns])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_loss_and_the_gradients_of_a_step_are_those_of_all_sequences(
    way: Callable[[Task], Carried], layers: int
) -> None:
    task = a_task(layers)
    batch = torch.from_numpy(task.batches[0])
    whole = task.model().to(torch.bfloat16)
    loss = loop.next_token_loss(whole, batch)
    loss.backward()
    gradients = torch.cat(
        [
            cast(Tensor, weight.grad).flatten().float()
            for module in (whole.embedding, whole.norm, *whole.blocks)
            for weight in module.parameters()
        ]
    )
    found = on_ranks(WORLD, way, replace(task, batches=task.batches[:1]))
    assert sum(one.losses[0] for one in found) / WORLD == pytest.approx(loss.item(), abs=0.01)
    momentum = torch.zeros(len(gradients))
    for one in found:
        for first, piece in one.pieces:
            momentum[first : first + piece.shape[1]] = torch.from_numpy(piece[1])
    sizes = [len(unit) for unit in units_of(task.model())]
    for own, exact in zip(momentum.split(sizes), gradients.split(sizes), strict=True):
        # What one step of Adam makes of it.
        assert (own / (1 - BETAS[0]) - exact).norm() < 0.05 * exact.norm()


def test_gathering_trains_as_one_process_and_carries_all_weights_for_every_rank() -> None:
    task = a_task(3)
    found = on_ranks(WORLD, ranks.gather, task)
    assert far_off(task, found) < 0.05
    ends, *blocks = [len(unit) for unit in units_of(task.model())]
    each = 2 * WORLD * (3 * sum(blocks) + 2 * ends)  # bytes of a step
    assert sum(one.bytes for one in found) == 2 * each


@pytest.mark.parametrize(("layers", "at_the_ends"), [(1, 1), (3, 1), (4, 2)])
def test_stages_in_turn_train_as_one_process_and_carry_each_weight_for_one_rank(
    layers: int, at_the_ends: int
) -> None:
    task = a_task(layers)
    found = on_ranks(WORLD, ranks.take_turns, task)
    assert far_off(task, found) < 0.05
    ends, *blocks = [len(unit) for unit in units_of(task.model())]
    activations = 2 * 2 * (layers - 1) * SEQUENCES * TOKENS * WIDTH  # and their gradients
    each = 2 * 3 * sum(blocks) + 2 * 2 * ends * at_the_ends + activations
    assert sum(one.bytes for one in found) == 2 * each


@pytest.mark.parametrize(("count", "blocks"), [(1, 1), (1, 5), (2, 5), (4, 2), (4, 12), (3, 20)])
def test_no_step_is_faster_than_its_link_and_both_are_near_it(count: int, blocks: int) -> None:
    modelled = over_the_link.steps(count, blocks)
    assert modelled[GATHERED] >= 3 * count * blocks
    assert modelled[STAGES] >= 3 * blocks
    # At most nothing of what is computed, forward and thrice backward, hides behind the link.
    computing = 4 * over_the_link.COMPUTING * blocks
    assert modelled[GATHERED] <= 3 * count * blocks + computing + 1e-9
    assert modelled[STAGES] <= 3 * blocks + computing * count + 1e-9


def judged(claim: str, values: dict[tuple[str, str, int], float], layers: int = 12) -> Judgement:
    measurements = [
        {
            "metric": metric,
            "variant": variant,
            "settings": {"ranks": count},
            "value": value,
            "unit": "",
            "n": 1,
            "spread": None,
        }
        for (metric, variant, count), value in values.items()
    ]
    parameters = STUDY.check("claims", {"layers": layers}).model_dump()
    found = document(study="offloading", parameters=parameters, measurements=measurements)
    return STUDY.judge(Result.model_validate(found))[claim]


def seventy(states: float, saved: float, layers: int = 12) -> str:
    values = {("device states", HOST, n): states for n in (2, 4)}
    values |= {("states saved", HOST, 2): 7.0, ("states saved", HOST, 4): saved}
    return judged("ren2021zerooffload-2", values, layers).status


def test_seventy_billion_parameters_are_judged_by_their_rule() -> None:
    assert seventy(512 / 70, 4.5) == "direction agrees"
    assert seventy(512 / 70 + 0.01, 4.5) == "not reproduced"
    assert seventy(2, 4.49) == "not reproduced"
    assert seventy(2, 7, layers=11) == "not run"
    assert judged("ren2021zerooffload-2", {}).status == "not run"


def mobius(claim: int, carried: float, time: float) -> str:
    values = {
        ("carried by all", GATHERED, 4): carried,
        ("carried by all", STAGES, 4): 1.0,
        ("step, by replay", GATHERED, 4): time,
        ("step, by replay", STAGES, 4): 1.0,
    }
    return judged(f"feng2023mobius-{claim}", values).status


def test_stages_in_turn_are_judged_by_their_rules() -> None:
    assert mobius(0, 3, 2) == mobius(1, 3, 1.5) == "direction agrees"
    assert mobius(0, 2.99, 2) == mobius(1, 2.99, 1.5) == "not reproduced"
    assert mobius(0, 3, 1.99) == mobius(1, 3, 1.49) == "not reproduced"
