"""Template tags of the case studies: where a number comes from, and what was measured of what."""

from django import template

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.models import Run
from casestudies.studies.results import headline, latest_results, origin, settings_of
from reviewapp.ui.units import duration

register = template.Library()
register.filter(headline)
register.filter(origin)
register.filter(settings_of)


@register.simple_tag
def studies_about(strategy: str = "", publication: str = "") -> list[tuple[Study, Run | None]]:
    """Return the case studies about a strategy, or a publication, with their latest results."""
    studies = [
        study
        for study in STUDIES.values()
        if strategy in study.strategies or publication in study.publications
    ]
    results = latest_results([study.slug for study in studies])
    return [(study, results.get(study.slug)) for study in studies]


@register.filter
def minutes(number: float) -> str:
    """Return how long a preset takes on two CPU cores: 0.2 as "about 12 s"."""
    return f"about {number * 60:.0f} s" if number < 1 else f"about {number:g} min"


@register.filter
def took(run: Run) -> str:
    """Return how long the run went on, or nothing when it has not begun and ended."""
    return duration(run.finished - run.started) if run.started and run.finished else ""
