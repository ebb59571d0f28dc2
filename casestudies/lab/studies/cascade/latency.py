"""Asks single queries: whether both ends of a cascade are exact, and how long each step takes."""

import torch
from torch import Tensor

from casestudies.lab.measure.rounds import seconds
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.cascade.bench import Asked, Bench
from casestudies.lab.studies.cascade.cascade import FIRST_ALONE, LAST_ALONE
from casestudies.lab.studies.cascade.claims import LARGE, SMALL_TO_LARGE
from casestudies.lab.studies.cascade.steps import Answer, Steps, answered, ask

PERCENT, MILLI, TAIL = 100.0, 1000.0, 0.99
WARM_UP = 2  # queries

StepTimes = dict[tuple[str, str], Tensor]  # milliseconds (rounds, queries) by cascade and step


@torch.inference_mode()
def check_ends(bench: Bench, asked: Asked, sample: Tensor, report: Report) -> None:
    """Report whether both cascades at both ends say what the models alone say."""
    for cascade, steps in bench.steps.items():
        same, apart = [], []
        for query in sample.tolist():
            tokens = asked.text(query)
            last = tokens.shape[1] - 1
            for threshold, alone, in_window in (
                (FIRST_ALONE, steps.ask_first(tokens, last)[0], asked.first[cascade]),
                (LAST_ALONE, ask(bench.large, tokens, last), asked.last),
            ):
                found, _ = answered(steps, tokens, threshold)
                same.append(float(found.token.item() == in_window.token[query].item()))
                apart.append((found.confidence - alone.confidence).abs().max().item())
        report.measure("same tokens", cascade, sum(same) / len(same))
        report.measure("equality error", cascade, max(apart))


@torch.inference_mode()
def time_steps(bench: Bench, asked: Asked, sample: Tensor, rounds: int, stage: Stage) -> StepTimes:
    """Return how long each step of each cascade takes, query after query, in turn."""
    _one_round(bench, asked, sample[:WARM_UP])
    rows = []
    for done in range(rounds):
        stage.at(done / rounds)
        rows.append(_one_round(bench, asked, sample))
    return {key: torch.tensor([row[key] for row in rows]).double() for key in rows[0]}


def _one_round(bench: Bench, asked: Asked, sample: Tensor) -> dict[tuple[str, str], list[float]]:
    row: dict[tuple[str, str], list[float]] = {}
    for query in sample.tolist():
        tokens = asked.text(query)
        for cascade, steps in bench.steps.items():
            for name, spent in zip(("first", "last"), _both(steps, tokens), strict=True):
                row.setdefault((cascade, name), []).append(MILLI * spent)
    return row


def _both(steps: Steps, tokens: Tensor) -> tuple[float, float]:
    """Return the seconds of both steps of one query (1, T)."""
    last, device = tokens.shape[1] - 1, tokens.device.type
    said: list[tuple[Answer, Tensor]] = []
    first = seconds(lambda: said.append(steps.ask_first(tokens, last)), device)
    _, begun = said[0]
    return first, seconds(lambda: steps.ask_last(tokens, last, begun), device)


def report_latency(
    asked: Asked,
    sample: Tensor,
    taken: StepTimes,
    thresholds: dict[str, dict[str, float]],
    report: Report,
) -> None:
    """Report the mean and the slowest latency of the large model alone and of each cascade."""
    alone = taken[SMALL_TO_LARGE, "last"]  # which is the large model from the start
    report.measure("mean latency", LARGE, alone.mean(1).tolist())
    report.measure("tail latency", LARGE, alone.quantile(TAIL, dim=1).tolist())
    for cascade, aims in thresholds.items():
        steps = taken[cascade, "first"], taken[cascade, "last"]
        each = [asked.queries(cascade, costs, sample) for costs in zip(*steps, strict=True)]
        for aim, threshold in aims.items():
            ours = torch.stack([queries.costs(threshold) for queries in each])
            mean, tail = ours.mean(1), ours.quantile(TAIL, dim=1)
            saved = PERCENT * (1 - mean / alone.mean(1))
            ratio = tail / alone.quantile(TAIL, dim=1)
            report.measure("mean latency", cascade, mean.tolist(), aim=aim)
            report.measure("tail latency", cascade, tail.tolist(), aim=aim)
            report.measure("latency saved", cascade, saved.tolist(), aim=aim)
            report.measure("tail latency ratio", cascade, ratio.tolist(), aim=aim)
