"""Ranks that are killed, checkpoints that are whole, and training that goes on from them."""

import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.distributed.ranks import RanksFailed, on_ranks
from casestudies.lab.distributed.supervised import in_generations
from casestudies.lab.train import checkpoints
from casestudies.lab.train.checkpoints import Share
from casestudies.lab.train.resumable import Carried, Ending, Task, carried_out

pytestmark = pytest.mark.xdist_group("ranks")

TASK = Task(61, 32, 1, 0, np.random.default_rng(0).integers(0, 61, (9, 4, 9)))
NUMBERS = 11  # of a row that three ranks share


def same(one: Carried, other: Carried) -> bool:
    return one.losses == other.losses and bool((one.weights == other.weights).all())


def whole(first: int, count: int, step: int) -> Share:
    """Return a part of rows that hold 0, 1, 2, … and so many tens more."""
    row = torch.arange(first, first + count, dtype=torch.float32)
    return Share(step, first, row, row + 10, row + 20)


def save_in_thirds(folder: str) -> None:
    rank = dist.get_rank()
    checkpoints.save(Path(folder), 0, whole(4 * rank, min(4, NUMBERS - 4 * rank), 5))


def killed_while_writing(generation: int, folder: str) -> tuple[int, list[float]]:
    """Save twice, but for rank 1 of the first generation; then return what is there."""
    rank, world = dist.get_rank(), dist.get_world_size()
    if generation == 0:
        checkpoints.save(Path(folder), generation, whole(2 * rank, 2, 1))
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        checkpoints.save(Path(folder), generation, whole(2 * rank, 2, 2))
    found = checkpoints.latest(Path(folder))
    assert found
    share = checkpoints.load(found, 0, 4 // world)
    return share.step, share.weights.tolist()


def failing(generation: int) -> int:
    if generation < 2:
        raise ArithmeticError(f"generation {generation}")
    return generation


@settings(max_examples=40)
@given(first=st.integers(0, 12), count=st.integers(1, 14))
def test_any_part_is_read_from_whichever_files_hold_it(saved: Path, first, count) -> None:
    found = checkpoints.load(saved, first, count)
    assert found.step == 5
    expected = [n if n < NUMBERS else 0 for n in range(first, first + count)]
    assert found.weights.tolist() == expected
    assert found.variance.tolist() == [
        n + 20 if n < NUMBERS else 0 for n in range(first, first + count)
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    on_ranks(3, save_in_thirds, str(folder))
    found = checkpoints.latest(folder)
    assert found
    return found


def test_a_checkpoint_that_lacks_a_share_is_refused(saved: Path, tmp_path: Path) -> None:
    partial = shutil.copytree(saved, tmp_path / "partial")
    next(partial.iterdir()).unlink()
    with pytest.raises(ValueError, match="partial holds 2 of 3 files"):
        checkpoints.load(partial, 0, NUMBERS)
    for file in partial.iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="partial holds no file"):
        checkpoints.load(partial, 0, NUMBERS)


def test_a_rank_killed_while_all_write_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    found, generations = in_generations([2, 1], killed_while_writing, str(tmp_path))
    assert found == [(1, [0, 1, 2, 3])]
    assert [one.world for one in generations] == [2, 1]
    assert generations[0].failure
    assert not generations[1].failure


def test_generations_may_fail_but_the_last() -> None:
    found, generations = in_generations([1, 2, 1], failing)
    assert found == [2]
    assert "generation 0" in generations[0].failure
    with pytest.raises(RanksFailed, match="generation 1"):
        in_generations([1, 1], failing)
    with pytest.raises(ValueError, match="no generation"):
        in_generations([], failing)


def test_killed_ranks_change_neither_weights_nor_losses_and_lose_few_steps() -> None:
    kills = [Ending(2, killed=0), Ending(6, killed=1), Ending(7, killed=0)]
    undisturbed = carried_out(TASK, [2])
    killed = carried_out(replace(TASK, every=3, endings=kills), [2] * 4)
    assert same(killed, undisturbed)
    assert [(note.step, note.generation) for note in killed.of("killed")] == [
        (2, 0),
        (6, 1),
        (7, 2),
    ]
    # The first went back to the beginning, the others to what was saved last.
    assert [note.step for note in killed.of("ready")] == [0, 0, 3, 6]
    assert all(one.failure for one in killed.generations[:-1])


@pytest.mark.parametrize("worlds", [[2, 1, 2], [1, 2, 1]])
def test_another_number_of_ranks_goes_on_with_the_same_steps(worlds: Sequence[int]) -> None:
    leaving = replace(TASK, endings=[Ending(3), Ending(6)])
    changed = carried_out(leaving, worlds)
    assert same(changed, carried_out(TASK, [1]))
    assert same(changed, carried_out(TASK, [2]))
    assert [note.step for note in changed.of("ready")] == [0, 3, 6]
    assert len(changed.of("step")) == TASK.steps


def test_where_nothing_was_saved_all_is_done_again() -> None:
    again = carried_out(replace(TASK, endings=[Ending(4, killed=0)]), [2, 2])
    undisturbed, other = carried_out(TASK, [2]), carried_out(replace(TASK, seed=1), [2])
    assert same(again, undisturbed)
    assert again.apart(undisturbed) == 0
    assert len(again.of("step")) == TASK.steps + 3
    assert not same(again, other)
    assert again.apart(other) > 0


def test_a_failure_that_nobody_planned_is_none_to_go_on_from() -> None:
    # There is no batch for a step after the last, and all steps are saved.
    beyond = replace(TASK, every=3, endings=[Ending(TASK.steps + 1)])
    with pytest.raises(RanksFailed, match="generation 0: rank 0: IndexError"):
        carried_out(beyond, [1, 1])
