"""Template tags that need the review's records."""

from django import template

from reviewapp.corpus.models import Publication

register = template.Library()


@register.simple_tag
def membership_counts() -> dict[str, int]:
    """Return how many publications are named, reconstructed and extension, and are `counted`."""
    return Publication.objects.membership_counts()
