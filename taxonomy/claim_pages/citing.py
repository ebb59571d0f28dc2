"""Texts to copy from a claim's page: how to cite it, and how to report an error in it."""

from django.utils.text import capfirst

from reviewapp import __version__
from reviewapp.corpus.citations.reference import reference
from taxonomy.models import Claim

NOT_REPORTED = "not reported"


def citation(claim: Claim, address: str, today: str) -> str:
    """Return a sentence that cites the claim: the number, its publication, and this record."""
    against = f", against {claim.baseline}" if claim.baseline else ""
    stated = f"{capfirst(claim.metric)}: {claim.as_stated}{against}"
    return (
        f"{stated} (source: {claim.get_source_display()}). {reference(claim.publication)}; "
        f"as recorded by Peak Atlas {__version__}, claim {claim.code}, {address}, {today}."
    )


def error_report(claim: Claim, address: str) -> str:
    """Return a text in which a reader only has to say what is wrong."""
    names = [one.strategy.name for one in claim.attributions.all() if one.counted]
    stated = {
        "Claim": claim.code,
        "Page": address,
        "Publication": claim.publication.title,
        "Number": f"{claim.metric}: {claim.as_stated}",
        "Quantity": str(claim.axis),
        "Baseline": claim.baseline,
        "Conditions": claim.conditions,
        "Hardware": claim.hardware,
        "Scope": claim.get_scope_display(),
        "Strategies": ", ".join(names),
        "Source": claim.get_source_display(),
    }
    asked = ("What is wrong:", "What it should say:", "Where this is said (page, table, address):")
    lines = [f"{name}: {text or NOT_REPORTED}" for name, text in stated.items()]
    return "\n".join([*lines, "", *(f"{question}\n" for question in asked)]).strip()
