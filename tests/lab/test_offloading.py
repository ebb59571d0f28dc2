"""Offloading: the same numbers with weights, caches and optimizer elsewhere, and what is held."""

from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.contract import not_run
from casestudies.lab.measure.tensors import NO_CAP, Device, NoRoom
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.studies.offloading import placements, states
from casestudies.lab.studies.offloading.about import (
    CHUNKS,
    FETCHED,
    HOST,
    STUDY,
    WINDOW,
    window_speed,
)
from casestudies.lab.studies.offloading.carrying import EmulatedLink
from casestudies.lab.studies.offloading.inference import Place, stock
from casestudies.lab.studies.offloading.placements import Disk
from casestudies.lab.studies.offloading.schedule import Offloaded, OnDevice
from casestudies.lab.studies.offloading.training import Placement, Training, units_of
from casestudies.lab.train import loop
from tests.lab.declared import measured, on_a_gpu

FAST = 1e12  # bytes a second
WIDTH, LAYERS, VOCABULARY = 32, 5, 96


def a_model(layers: int = LAYERS) -> LanguageModel:
    return shapes.small(VOCABULARY, WIDTH, layers, torch.Generator().manual_seed(0))


def size(*tensors: torch.Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@settings(max_examples=25)
@given(
    batches=st.integers(1, 4),
    sequences=st.integers(1, 3),
    prompt=st.integers(1, 9),
    tokens=st.integers(1, 4),
    prefetch=st.booleans(),
)
def test_a_device_with_room_for_two_blocks_gives_the_logits_of_the_whole_model(
    batches: int, sequences: int, prompt: int, tokens: int, prefetch: bool
) -> None:
    model = a_model()
    prompts = list(torch.randint(VOCABULARY, (batches, sequences, prompt)))
    expected = stock(model, prompts, tokens, "cpu")
    # Keys and values of a block and batch: of the batch that is read, those before and after it.
    cache = 3 * 2 * sequences * (prompt + tokens) * WIDTH * 4
    ends = size(model.embedding.weight, model.norm.weight)
    device = Device("cpu", ends + 2 * size(*model.blocks[0].parameters()) + cache)
    link = EmulatedLink(FAST)
    schedule = Offloaded(model, device, link, prefetch=prefetch)
    schedule.begin(batches, sequences, prompt + tokens)
    read = prompts
    for logits in expected:
        torch.testing.assert_close(torch.stack(schedule.step(read)), logits, atol=1e-4, rtol=0)
        read = [batch.argmax(-1, keepdim=True) for batch in logits]
    link.close()
    # The weights go over the link once a step, whatever the batches; a cache once each way.
    weights = LAYERS * size(*model.blocks[0].parameters())
    one_token = 2 * LAYERS * batches * sequences * WIDTH * 4
    carried = sum(prompt + step for step in range(tokens - 1)) + (prompt + tokens - 1)
    assert link.bytes == tokens * weights + carried * one_token


def test_the_whole_model_does_not_fit_there() -> None:
    model = a_model()
    with pytest.raises(NoRoom):
        OnDevice(model, Device("cpu", size(*model.parameters()) - 1))


def test_a_link_takes_as_long_as_its_speed_says() -> None:
    waits: list[float] = []
    link = EmulatedLink(1000, wait=waits.append, clock=lambda: 5.0)
    for _ in range(3):
        link.carry(torch.ones(25), torch.empty(25))()
    link.close()
    assert waits == pytest.approx([0.1, 0.2, 0.3])
    assert link.bytes == 300


def test_what_has_arrived_no_longer_takes_room_for_its_link() -> None:
    device, told, room = Device("cpu", 100), Event(), []
    link = EmulatedLink(FAST, wait=lambda _: told.wait())
    arrival: Any = link.carry(torch.ones(25), device.empty(torch.Size((25,)), torch.float32))
    # In the link's thread, at the moment at which whoever waits for the arrival may go on.
    arrival.__self__.add_done_callback(lambda _: room.append(device.bytes))
    told.set()
    link.close()
    assert room == [0]


PLACED: dict[str, Callable[..., Placement]] = {
    "float32 gradients": partial(placements.OnDevice, wide=True),
    "optimizer on the host": placements.OptimizerOnHost,
    "buckets": partial(placements.Buckets, numbers=1000),
    "window": placements.LayerWindow,
    "chunks": placements.Chunks,
}


def trained(make: Callable[..., Placement], device: Device, host) -> torch.Tensor:
    """Return all weights after three steps."""
    model = a_model()
    placement = make(units_of(model), device, host)
    training = Training(model, placement, 1e-3)
    for batch in torch.randint(VOCABULARY, (3, 2, 9), generator=torch.Generator().manual_seed(1)):
        training.step(batch)
    return placement.whole()


@pytest.mark.parametrize("variant", PLACED)
def test_training_ends_with_the_same_weights_wherever_its_states_lie(variant: str) -> None:
    expected = trained(placements.OnDevice, Device("cpu", NO_CAP), Device("cpu", NO_CAP))
    assert trained(PLACED[variant], Device("cpu", NO_CAP), Device("cpu", NO_CAP)).equal(expected)


class LateLink:
    """Copies nothing before somebody waits for it; says how much was on its way at most."""

    def __init__(self) -> None:
        self.bytes = self.most = 0
        self._on_way: list[tuple[torch.Tensor, torch.Tensor]] = []

    def carry(self, source: torch.Tensor, target: torch.Tensor) -> Callable[[], object]:
        self.bytes += source.nbytes
        sent = source, target
        self._on_way.append(sent)
        self.most = max(self.most, len(self._on_way))
        return lambda: self._arrive(sent)

    def _arrive(self, sent: tuple[torch.Tensor, torch.Tensor]) -> None:
        while any(sent is other for other in self._on_way):
            source, target = self._on_way.pop(0)
            target.copy_(source)

    def close(self) -> None:
        assert not self._on_way


@pytest.mark.parametrize("ahead", [False, True])
def test_a_window_that_comes_ahead_trains_as_one_that_is_waited_for(ahead: bool) -> None:
    expected = trained(placements.OnDevice, Device("cpu", NO_CAP), Device("cpu", NO_CAP))
    ends, block = (len(unit) for unit in units_of(a_model())[:2])
    cap = 2 * (2 * ends + 4 * block)  # the ends with their gradient, two blocks, two gradients
    late = LateLink()
    window = partial(placements.LinkedWindow, link=late, ahead=ahead)
    assert trained(window, Device("cpu", cap), Device("cpu", NO_CAP)).equal(expected)
    late.close()
    assert (late.most > 1) is ahead


def test_training_with_a_window_is_timed_beside_layers_on_demand() -> None:
    events: list[Any] = []
    batches = torch.randint(VOCABULARY, (1, 2, 9), generator=torch.Generator().manual_seed(1))
    task = states.Task(VOCABULARY, WIDTH, LAYERS, batches, 0, 1000)
    states.time_window(task, Place("cpu", FAST), 2, Report(STUDY, events.append))
    found = {(event.metric, event.variant): event for event in events}
    assert found.keys() == {
        ("training tokens per second", WINDOW),
        ("training tokens per second", FETCHED),
        ("weight difference", FETCHED),
    }
    assert found["weight difference", FETCHED].value == 0
    for variant in (WINDOW, FETCHED):
        assert found["training tokens per second", variant].n == 2
        assert found["training tokens per second", variant].value > 0


@pytest.mark.parametrize(
    ("fold", "status"),
    [(1.19, "not reproduced"), (1.2, "direction agrees"), (9, "direction agrees")],
)
def test_a_window_is_judged_by_its_rule_and_never_supported(fold: float, status: str) -> None:
    name = "training tokens per second"
    rows: list[tuple[str, str, float, dict[str, Any]]]
    rows = [(name, FETCHED, 1000, {}), (name, WINDOW, 1000 * fold, {})]
    result = measured(STUDY, rows)
    assert window_speed(on_a_gpu(result)).status == status
    assert window_speed(result) == not_run("needs a GPU")
    assert STUDY.judge(on_a_gpu(measured(STUDY, [])))["sun2022stronghold-1"].status == "not run"
    small = measured(STUDY, rows, layers=2)
    assert window_speed(on_a_gpu(small)).status == "not run"


@pytest.mark.parametrize(
    ("folds", "status"),
    [
        ({2: 1.2, 32: 5}, "direction agrees"),
        ({2: 1.19, 32: 5}, "not reproduced"),
        ({2: 5, 32: 1.19}, "not reproduced"),
        ({2: 5, 16: 5}, "not run"),
    ],
)
def test_chunks_are_judged_by_the_worst_host(folds: dict[int, float], status: str) -> None:
    rows: list[tuple[str, str, float, dict[str, Any]]] = []
    for host, fold in folds.items():
        rows.append(("largest model", HOST, 10, {"host": host}))
        rows.append(("largest model", CHUNKS, 10 * fold, {"host": host}))
    judged = STUDY.judge(measured(STUDY, rows))
    assert {judged[f"fang2021patrickstar-{n}"].status for n in (0, 1)} == {status}


def test_states_may_lie_in_files(tmp_path) -> None:
    expected = trained(placements.OnDevice, Device("cpu", NO_CAP), Device("cpu", NO_CAP))
    assert trained(placements.LayerWindow, Device("cpu", NO_CAP), Disk(tmp_path)).equal(expected)


def test_a_step_unit_by_unit_is_a_step_of_the_whole_model() -> None:
    """Its first step has the loss, and moves weights where, autograd over all says."""
    batch = torch.randint(VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1))
    whole = a_model().to(torch.bfloat16)
    loss = loop.token_loss(whole(batch[:, :-1]).float(), batch)
    loss.backward()
    gradients = torch.cat(
        [torch.cat([w.grad.flatten() for w in module.parameters()])
         for module in (whole.embedding, whole.norm, *whole.blocks)]
    )  # fmt: skip
    model = a_model()
    before = torch.cat(units_of(model))
    placement = placements.OptimizerOnHost(
        units_of(model), Device("cpu", NO_CAP), Device("cpu", NO_CAP)
    )
    found = Training(model, placement, 1e-3).step(batch)
    assert found == pytest.approx(loss.item(), abs=0.01)
    # The first step of Adam moves each weight by the rate, against its gradient.
    clear = gradients.abs() > gradients.abs().median()
    moved = (placement.whole() - before)[clear]
    assert (moved.sign() == -gradients[clear].sign()).float().mean() > 0.99


@settings(max_examples=20)
@given(device=st.integers(40, 160), host=st.integers(0, 160))
def test_chunks_train_alike_in_any_memory_that_is_enough_or_are_refused(
    device: int, host: int
) -> None:
    expected = trained(placements.OnDevice, Device("cpu", NO_CAP), Device("cpu", NO_CAP))
    memories = (
        Device("cpu", device * len(expected) // 10),
        Device("cpu", host * len(expected) // 10),
    )
    if device + host < 140:  # 14 bytes a parameter are needed
        with pytest.raises(NoRoom):
            trained(placements.Chunks, *memories)
    elif device + host > 190:  # and room for what a step works with, and for what moves
        assert trained(placements.Chunks, *memories).equal(expected)
