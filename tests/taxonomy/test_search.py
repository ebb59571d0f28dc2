"""One search for everything: what people type finds what they mean, and says why."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client

from reviewapp.corpus.models import Review
from taxonomy.search.found import GROUPS

pytestmark = pytest.mark.django_db

PAIRS: list[dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parent / "search_pairs.yaml").read_text(encoding="utf-8")
)


def found(client: Client, text: str) -> dict[str, Any]:
    response = client.get("/api/v1/search/", {"q": text})
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def best(answer: dict[str, Any], group: str) -> list[str]:
    """Return the first five of a group: titles, but keys of publications and codes of claims."""
    hits = next(one["best"] for one in answer["groups"] if one["group"] == group)
    return [hit["key" if group in ("publications", "claims") else "title"] for hit in hits]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["q"])
def test_what_is_meant_is_among_the_first_five(
    client: Client, review: Review, pair: dict[str, Any]
) -> None:
    answer = found(client, pair["q"])
    for group in GROUPS.keys() & pair.keys():
        assert set(pair[group]) <= set(best(answer, group)), group
    if "did_you_mean" in pair:
        assert answer["did_you_mean"] == pair["did_you_mean"]
