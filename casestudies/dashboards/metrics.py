"""Which metrics the dashboards offer, and which they draw unless told otherwise."""

from collections.abc import Iterable

from casestudies.lab.contract import Study
from casestudies.lab.metrics import Metric


def default_pair(study: Study) -> tuple[Metric, Metric]:
    """Return what a study's result is drawn by: its first trade, else its first two metrics."""
    for chart in study.charts:
        if chart.kind == "trade":
            return study.metric(chart.x), study.metric(chart.y)
    first, second, *_ = [*study.metrics, study.metrics[0]]
    return second, first


def identity(metric: Metric) -> tuple[str, str, str, str]:
    """Return what two studies must agree in for their metric to be the same.

    The same name in another unit, to another base or better in the other direction is another.
    """
    return metric.name, metric.unit, metric.relative_to, metric.direction


def shared(studies: Iterable[Study]) -> list[Metric]:
    """Return the metrics that at least two of the studies have."""
    found: dict[tuple[str, str, str, str], list[Metric]] = {}
    for study in studies:
        for metric in study.metrics:
            found.setdefault(identity(metric), []).append(metric)
    return [metrics[0] for metrics in found.values() if len(metrics) > 1]
