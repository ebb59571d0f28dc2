"""What each placement of the training states holds and carries, how large a model it trains, and
how fast a window does."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from casestudies.lab.measure.rounds import alternately
from casestudies.lab.measure.tensors import NO_CAP, Device, NoRoom
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.offloading import placements
from casestudies.lab.studies.offloading.about import (
    BUCKETS,
    CHUNKED,
    CHUNKS,
    FETCHED,
    HERE,
    HOST,
    ON_DISK,
    WIDE,
    WINDOW,
)
from casestudies.lab.studies.offloading.carrying import link_of
from casestudies.lab.studies.offloading.inference import Place
from casestudies.lab.studies.offloading.placements import Disk, LinkedWindow, Pinned
from casestudies.lab.studies.offloading.training import (
    WEIGHT,
    Trainable,
    Training,
    units_of,
    unsplit,
)

RATE = 0.001
SEARCHED = (HERE, HOST, WINDOW, CHUNKS)
SEARCHED_WIDTH, SEARCHED_VOCABULARY = 32, 128


def makers(bucket: int) -> dict[str, Callable[..., Any]]:
    """Return by variant what places the states; `bucket` are the numbers of a bucket."""
    return {
        HERE: placements.OnDevice,
        WIDE: partial(placements.OnDevice, wide=True),
        HOST: placements.OptimizerOnHost,
        BUCKETS: partial(placements.Buckets, numbers=bucket),
        WINDOW: placements.LayerWindow,
        ON_DISK: placements.LayerWindow,
        CHUNKS: placements.Chunks,
    }


@dataclass(frozen=True)
class Trained:
    """What training found: peak bytes, bytes carried in a step, and all weights."""

    parameters: int
    device: int
    host: int
    carried: float
    weights: Tensor


@dataclass(frozen=True)
class Task:
    """The sizes of the model, the batches (steps, B, T) that it is trained on, and the seed.

    The batches are a tensor, or a NumPy array on their way to ranks.
    """

    vocabulary: int
    width: int
    layers: int
    batches: Any
    seed: int
    bucket: int

    def model(self) -> LanguageModel:
        """Return the model that all training begins with."""
        generator = torch.Generator().manual_seed(self.seed)
        return shapes.small(self.vocabulary, self.width, self.layers, generator)

    def train(
        self,
        variant: str,
        device: int = NO_CAP,
        host: int = NO_CAP,
        split: Callable[[LanguageModel], Trainable] = unsplit,
    ) -> Trained:
        """Return what training finds with so many bytes; raise NoRoom where they are too few."""
        model = split(self.model())
        units = units_of(model)
        number = sum(map(len, units))
        here = Device("cpu", device)
        with tempfile.TemporaryDirectory() as folder:
            there = Disk(Path(folder)) if variant == ON_DISK else Device("cpu", host)
            placement = makers(self.bucket)[variant](units, here, there)
            training = Training(model, placement, RATE)
            for batch in torch.as_tensor(self.batches):
                training.step(batch)
            carried = placement.carried / len(self.batches)
            return Trained(number, here.peak, there.peak, carried, placement.whole())


def account(task: Task, report: Report) -> dict[str, float]:
    """Report where states lie and that all end alike; return device bytes of a parameter."""
    found: dict[str, Trained] = {}
    for variant in makers(task.bucket):
        cap = NO_CAP
        if variant == CHUNKS:
            cap = CHUNKED * found[HERE].parameters
        found[variant] = one = task.train(variant, cap)
        report.measure("device states", variant, one.device / one.parameters)
        report.measure("host states", variant, one.host / one.parameters)
        report.measure("carried in a step", variant, one.carried / one.parameters)
        apart = (one.weights - found[HERE].weights).abs().max().item()
        report.measure("weight difference", variant, apart)
        whole = found[WIDE if variant == BUCKETS else HERE]
        report.measure("states saved", variant, whole.device / one.device)
    return {variant: one.device / one.parameters for variant, one in found.items()}


def growth(task: Task, report: Report) -> None:
    """Report how the device's bytes grow with a block, as a share of the block's weights."""
    for variant in (HERE, HOST, WINDOW, ON_DISK):
        small = task.train(variant)
        large = replace(task, layers=task.layers + 1).train(variant)
        weights = WEIGHT.itemsize * (large.parameters - small.parameters)
        report.measure_share("growth", variant, (large.device - small.device) / weights)


def time_window(task: Task, place: Place, rounds: int, report: Report) -> None:
    """Report tokens per second of training with a window that comes ahead, and with none.

    Both have the link, and as much of the device as the window has taken in a step, with room for
    gradients that were still on their way. All batches but the first are left out.
    """
    model = task.model()
    units = units_of(model)
    batch = torch.as_tensor(task.batches)[0].to(place.device)
    with closing(link_of(place.device, place.rate)) as link:

        def placed(cap: int, *, ahead: bool) -> LinkedWindow:
            host = Pinned if place.device == "cuda" else Device
            device = Device(place.device, cap)
            return LinkedWindow(units, device, host("cpu", NO_CAP), link, ahead=ahead)

        first = placed(NO_CAP, ahead=True)
        Training(model, first, RATE).step(batch)
        cap = first.device.peak + 2 * WEIGHT.itemsize * max(map(len, units))
        del first
        both = {name: placed(cap, ahead=name == WINDOW) for name in (WINDOW, FETCHED)}
        trainings = {name: Training(model, one, RATE) for name, one in both.items()}
        steps = {name: partial(training.step, batch) for name, training in trainings.items()}
        taken = alternately(steps, rounds, place.device)
    read = batch[:, :-1].numel()
    for name, times in taken.items():
        report.measure("training tokens per second", name, [read / seconds for seconds in times])
    apart = (both[FETCHED].whole() - both[WINDOW].whole()).abs().max().item()
    report.measure("weight difference", FETCHED, apart)


def search(device: int, times: Sequence[int], seed: int, stage: Stage, report: Report) -> None:
    """Report the largest model that each placement trains, with so many times that on the host."""
    batches = torch.arange(9).view(1, 1, 9)
    task = Task(SEARCHED_VOCABULARY, SEARCHED_WIDTH, 1, batches, seed, 0)
    for done, host in enumerate(times):
        stage.at(done / len(times), f"host {host} x the device")
        for variant in SEARCHED:
            most = largest(task, variant, device, host * device) / 1e6
            report.measure("largest model", variant, most, host=host)
            report.point("largest model by host memory", variant, host, most)


def largest(task: Task, variant: str, device: int, host: int) -> int:
    """Return the parameters of the deepest model that takes a step within these bytes, or 0."""
    block = 12 * task.width**2  # and more, so that no model has more blocks than this allows
    fits, fails, parameters = 0, (device + host) // (12 * block) + 1, 0
    while fails - fits > 1:
        layers = (fits + fails) // 2
        try:
            parameters = replace(task, layers=layers).train(variant, device, host).parameters
            fits = layers
        except NoRoom:
            fails = layers
    return parameters
