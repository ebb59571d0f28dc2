"""Texts with blocks on the host, then training with its states on the host."""

from dataclasses import replace

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.kernels import attempting
from casestudies.lab.measure.rounds import lengths
from casestudies.lab.models import files, shapes
from casestudies.lab.report import Report
from casestudies.lab.studies.offloading import inference, states
from casestudies.lab.studies.offloading.about import (
    HERE,
    HOST,
    LEAST_LAYERS,
    PREFETCH,
    RANKS,
    OffloadingParameters,
)
from casestudies.lab.studies.offloading.inference import Place, Times
from casestudies.lab.studies.offloading.ranks import report_ranks
from casestudies.lab.studies.offloading.states import Task

TOKENS = 3  # chosen in a row, where logits are compared
VOCABULARY = 512  # of models with random weights
STEPS, SEQUENCES, LENGTH = 2, 2, 33  # of training, which is counted
# Of training that a GPU is timed at, where a block's weights take about as long to come as to use.
TIMED_WIDTH, TIMED_LAYERS, TIMED_LENGTH = 1536, 8, 2049


def run(parameters: OffloadingParameters, setup: Setup, report: Report) -> str:
    """Compare, count and time; return the verdict. Raises ValueError if the text is too short."""
    p, place = parameters, Place(setup.device, parameters.rate * 1e6)
    report.precision = "float32; in training bfloat16 with float32 copies"
    with report.stage("reading the model and the text", 0.1):
        pretrained = files.load(setup.model, "cpu", setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", pretrained.name, pretrained.sha256)
        report.source("text", corpus.name, corpus.sha256)
        windows = text.windows(corpus.evaluation, pretrained.tokenizer, p.prompt)
        windows = text.sample(windows, p.sequences * p.batches, setup.seed).to(setup.device)
        prompts = list(windows.chunk(p.batches))
    with report.stage("continuing texts, blocks here and there", 0.15):
        apart = inference.compare(pretrained.model, prompts[:2], TOKENS, place, report)
    with report.stage("timing a step as batches are added", 0.4):
        times = inference.time_steps(pretrained.model, prompts, p.rounds, place, report)
    generator = torch.Generator().manual_seed(setup.seed)
    with report.stage("streaming a deep model", 0.05):
        model = shapes.small(VOCABULARY, p.width, p.deep, generator)
        tokens = torch.randint(VOCABULARY, (1, p.prompt), generator=generator)
        inference.deep(model, tokens.to(setup.device), place, report)
    with report.stage("training with states here and there", 0.1):
        batches = torch.randint(VOCABULARY, (STEPS, SEQUENCES, LENGTH), generator=generator)
        task = states.Task(VOCABULARY, p.width, p.layers, batches, setup.seed, p.bucket)
        states.account(task, report)
        states.growth(task, report)
        if setup.device == "cuda":  # pragma: no cover - needs a GPU
            with attempting("Training with a window", report.log):
                states.time_window(timed(task), place, p.rounds, report)
    with report.stage("training on ranks", 0.05):
        batches = torch.randint(VOCABULARY, (STEPS, RANKS, LENGTH), generator=generator)
        report_ranks(replace(task, batches=batches), report)
    with report.stage("looking for the largest model", 0.15) as stage:
        hosts = lengths(1, p.largest_host, 2)
        states.search(p.memory * 1024, hosts, setup.seed, stage, report)
    return verdict(apart, times, report)


def timed(task: Task) -> Task:
    """Return the training that is timed: the run's own if it is small, to show that it works."""
    if task.layers < LEAST_LAYERS:
        return task
    generator = torch.Generator().manual_seed(task.seed)
    batches = torch.randint(task.vocabulary, (1, SEQUENCES, TIMED_LENGTH), generator=generator)
    return replace(task, width=TIMED_WIDTH, layers=TIMED_LAYERS, batches=batches)


def verdict(apart: float, times: dict[int, Times], report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""
    found = {(m.metric, m.variant): m.value for m in report.measurements if not m.settings}
    number = max(times)
    step, alone = times[number], times[min(times)]
    same = "the same to the last bit" if apart == 0 else f"at most {apart:.1e} apart"
    batches = "one batch" if number == 1 else f"{number} batches"
    grown = "" if number == 1 else f", and with one batch {alone.prefetch / alone.here:.2f} x"
    return (
        f"Logits are {same} with blocks on the host, and the device holds"
        f" {found['device memory', PREFETCH]:.0f} MiB instead of"
        f" {found['device memory', HERE]:.0f}. A step of {batches} takes"
        f" {step.prefetch / step.here:.2f} x the time on the device{grown}. In training the device"
        f" keeps {found['device states', HOST]:.2f} bytes a parameter instead of"
        f" {found['device states', HERE]:.2f} with the optimizer on the host."
    )
