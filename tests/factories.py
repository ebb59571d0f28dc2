"""Records with everything that a test does not care about filled in."""

from typing import Any

from reviewapp.corpus.models import Publication


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
