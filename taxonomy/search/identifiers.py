"""Identifiers of publications, in every spelling in which people paste them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from django.db.models import Q, Value
from django.db.models.functions import Lower

from reviewapp.corpus.models import Publication, folded
from taxonomy.querysets import CODE

ARXIV = re.compile(
    r"(?:\S*/)?(?:arxiv\s?[:._-]?\s?)?"
    r"(?P<id>\d{4}\.\d{4,5})(?:v\d+)?(?:\.pdf)?/?(?:[?#]\S*|\s*\[[\w.-]+\])?",
    re.ASCII | re.IGNORECASE,
)
DOI = re.compile(r"(?:^|doi[:\s]\s*|/)(?P<doi>10\.\d{4,9}/[^\s?#]+)", re.ASCII | re.IGNORECASE)
REPOSITORY = re.compile(r"github\.com[/:]", re.IGNORECASE)
OWNER_AND_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
NAME = "name"


@dataclass(frozen=True)
class Identified:
    """What a whole search text names: publications, if there are any, by which identifier."""

    publications: tuple[int, ...] = ()
    by: str = ""


def arxiv_id(text: str) -> str:
    """Return the arXiv number in "2309.06180v2", "arXiv:2309.06180" or an address; else ""."""
    found = ARXIV.fullmatch(text.strip())
    return found["id"] if found else ""


def doi(text: str) -> str:
    """Return the DOI in "doi:10.1/x", in an address that ends with it or alone; else ""."""
    found = DOI.search(unquote(text.strip()))
    return found["doi"].rstrip(".,;)/").lower() if found else ""


def identified(text: str) -> Identified:
    """Return the publications that the text names as a whole, by the surest of its readings."""
    readings = list(_readings(text.strip()))
    for by, condition in readings:
        found = Publication.objects.alias(
            own_name=folded("artifact_name", "search_key"),
            repository=folded("code_url", "search_repository"),
            own_doi=Lower("doi"),
        ).filter(condition)
        if keys := tuple(found.order_by("year", "key").values_list("pk", flat=True)):
            return Identified(keys, by)
    return Identified(by=readings[0][0] if readings[0][0] != NAME else "")


def _readings(text: str) -> Iterator[tuple[str, Q]]:
    """Yield what the text may be, each with its condition."""
    if number := arxiv_id(text):
        yield "arXiv number", Q(arxiv_id=number)
    if name := doi(text):
        yield "DOI", Q(own_doi=name)
    if REPOSITORY.search(text):
        yield "repository", Q(repository=folded(Value(text), "search_repository"))
    elif OWNER_AND_NAME.fullmatch(text):
        address = Value(f"https://github.com/{text}")
        yield "repository", Q(repository=folded(address, "search_repository"))
    else:
        claim = CODE.fullmatch(text.lower())
        own_key = Q(key=claim["key"] if claim else text.lower())
        yield NAME, own_key | Q(own_name=folded(Value(text), "search_key"))
