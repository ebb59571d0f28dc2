"""Filters of the case studies: where a number comes from, and how long it took."""

from django import template

from casestudies.models import Run
from casestudies.studies.results import headline, origin, settings_of
from reviewapp.ui.units import duration

register = template.Library()
register.filter(headline)
register.filter(origin)
register.filter(settings_of)


@register.filter
def minutes(number: float) -> str:
    """Return how long a preset takes on two CPU cores: 0.2 as "about 12 s"."""
    return f"about {number * 60:.0f} s" if number < 1 else f"about {number:g} min"


@register.filter
def took(run: Run) -> str:
    """Return how long the run went on, or nothing when it has not begun and ended."""
    return duration(run.finished - run.started) if run.started and run.finished else ""
