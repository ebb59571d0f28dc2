"""What the dashboards show, and the address that says so."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from casestudies.dashboards.metrics import default_pair, identity, shared
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.lab.metrics import Metric

ACROSS = "all"


@dataclass(frozen=True)
class Selection:
    """What the dashboards show. `study` is None across studies; empty texts choose nothing.

    `x` and `y` are None where the studies share no metrics.
    """

    study: Study | None
    x: Metric | None
    y: Metric | None
    hardware: str = ""
    device: str = ""
    preset: str = ""
    runs: str = ""
    tag: str = ""
    baseline: str = ""
    curve: str = ""
    group: str = ""
    together: bool = False

    @property
    def studies(self) -> list[Study]:
        return [self.study] if self.study else list(STUDIES.values())

    @property
    def metrics(self) -> list[Metric]:
        """Return the metrics that may be drawn."""
        return metrics_of(self.study)

    @property
    def filters(self) -> dict[str, str]:
        """Return what the runs are filtered by, without what is open."""
        names = ("hardware", "device", "preset", "runs", "tag")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value}

    @property
    def query(self) -> dict[str, str]:
        """Return the keys and values of the address, without defaults."""
        default_x, default_y = default_axes(self.study)
        asked = {
            "study": self.study.slug if self.study else ACROSS,
            **self.filters,
            "x": self.x.name if self.x and self.x != default_x else "",
            "y": self.y.name if self.y and self.y != default_y else "",
            "baseline": self.baseline,
            "curve": self.curve,
            "group": self.group,
            "together": "1" if self.together else "",
        }
        if asked["study"] == next(iter(STUDIES)):
            del asked["study"]
        return {key: value for key, value in asked.items() if value}

    @property
    def url(self) -> str:
        encoded = urlencode(self.query)
        return reverse("dashboards") + (f"?{encoded}" if encoded else "")

    def but(self, **changes: Any) -> "Selection":
        """Return the selection with these changes."""
        return replace(self, **changes)


def metrics_of(study: Study | None) -> list[Metric]:
    """Return the metrics of the study, or those that studies share."""
    return list(study.metrics) if study else shared(STUDIES.values())


def default_axes(study: Study | None) -> tuple[Metric | None, Metric | None]:
    """Return what is drawn unless the address says otherwise.

    Across studies that is the pair of all of them, or nothing if it is not the same for all.
    """
    if study:
        return default_pair(study)
    pairs = [default_pair(other) for other in STUDIES.values()]
    same = len({(identity(x), identity(y)) for x, y in pairs}) == 1
    return pairs[0] if same and len(pairs) > 1 else (None, None)
