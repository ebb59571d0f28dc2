"""Which metrics the dashboards offer, and which they draw unless told otherwise."""

from collections.abc import Iterable

from casestudies.lab.contract import Metric, Study

# What a study's quality is drawn against, and the quality.
HEADLINES = {
    "sparsegpt": ("pruning time", "perplexity ratio"),
    "qmoe": ("total", "loss increase"),
}


def headline(study: Study) -> tuple[Metric, Metric]:
    """Return the two metrics that sum the study up; without a choice, its first with a direction.

    A study with a single metric has it twice.
    """
    by_name = {metric.name: metric for metric in study.metrics}
    if study.slug in HEADLINES:
        x, y = HEADLINES[study.slug]
        return by_name[x], by_name[y]
    judged = [metric for metric in study.metrics if metric.direction != "neither"]
    first, second, *_ = [*judged, *study.metrics, study.metrics[0]]
    return second, first


def identity(metric: Metric) -> tuple[str, str, str]:
    """Return what two studies must agree in for their metric to be the same.

    The same name in another unit, or better in the other direction, is another metric.
    """
    return metric.name, metric.unit, metric.direction


def shared(studies: Iterable[Study]) -> list[Metric]:
    """Return the metrics that at least two of the studies have."""
    found: dict[tuple[str, str, str], list[Metric]] = {}
    for study in studies:
        for metric in study.metrics:
            found.setdefault(identity(metric), []).append(metric)
    return [metrics[0] for metrics in found.values() if len(metrics) > 1]


def short_title(study: Study) -> str:
    """Return the study's name without what it is about."""
    return study.title.partition(":")[0]
