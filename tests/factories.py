"""Records with everything that a test does not care about filled in."""

from typing import TYPE_CHECKING, Any

from reviewapp.corpus.models import Publication

if TYPE_CHECKING:
    from taxonomy.models import Claim


def unsaved_publication(**values: Any) -> Publication:
    """Return a plausible publication that is in no database."""
    return Publication(
        **{
            "key": "doe2023example",
            "title": "An Example",
            "authors": ["Doe, Jane"],
            "year": 2023,
            "month": 5,
            "venue": "MLSys 2023",
            "venue_kind": "conference",
            "venue_name": "Conference on Machine Learning and Systems",
            "venue_acronym": "MLSys",
            "published_year": 2023,
            "published_month": 6,
            "venue_confidence": "high",
            "url": "https://example.org/paper",
            "artifact_name": "Example",
            "artifact_kind": "system",
            "summary": "A system that serves as an example.",
            "limitation": "It is only an example.",
            "limitation_basis": "curator",
            "membership": "reconstructed",
            "confidence": "high",
            "sources": ["https://example.org/paper"],
            **values,
        }
    )


def publication(**values: Any) -> Publication:
    """Return a plausible publication of the loaded review."""
    from reviewapp.corpus.models import Review

    made = unsaved_publication(review=Review.objects.earliest("id"), **values)
    made.save()
    return made


def claim(of: Publication, **values: Any) -> "Claim":
    """Return a plausible claim of a saved publication: one of no effect, under no strategy."""
    from taxonomy.models import Axis, Claim

    return Claim.objects.create(
        publication=of,
        **{
            "axis": Axis.objects.earliest("id"),
            "position": of.claims.count(),
            "objective": "throughput",
            "metric": "speed-up",
            "value": 2,
            "unit": "x",
            "direction": "higher_better",
            "source": "abstract",
            "phase": "none",
            "scope": "descriptive",
            "why": "an example",
            "confidence": "high",
            "ratio_rule": "none",
            "ratio_how": "not an effect ratio",
            **values,
        },
    )
