"""Frameworks, libraries and systems: what is said of each is what its publication reports."""

import json
import re
from collections import Counter
from html import unescape
from typing import Any

import pytest
from django.test import Client

from reviewapp.corpus.models import Review
from taxonomy.choices import AxisKind
from taxonomy.frameworks.artifacts import artifacts
from taxonomy.models import Claim
from tests.conftest import real_fixtures

pytestmark = pytest.mark.django_db

SOFTWARE = {"framework", "library", "system"}


def found(client: Client, query: str = "") -> list[dict[str, Any]]:
    response = client.get(f"/frameworks/export.json{query}")
    assert response.status_code == 200
    rows: list[dict[str, Any]] = json.loads(response.getvalue())["frameworks"]
    return rows


def test_all_software_is_shown_and_extensions_are_told_apart(
    client: Client, review: Review
) -> None:
    rows = [row for row in real_fixtures().publications if row.artifact_kind in SOFTWARE]
    assert {row["publication"]: row["code_url"] for row in found(client)} == {
        row.key: row.code_url for row in rows
    }
    extensions = sum(row.membership.status == "extension" for row in rows)
    page = unescape(client.get("/frameworks/").content.decode())
    assert f"{len(rows)} shown; {len(rows) - extensions} counted in the review" in page
    assert page.count(">extension</span>") >= 1


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("?kind=library", lambda row: row.artifact_kind == "library"),
        ("?kind=all", lambda row: True),
        ("?code=no", lambda row: row.artifact_kind in SOFTWARE and not row.code_url),
        ("?class=serving", lambda row: row.artifact_kind in SOFTWARE and "serving" in row.classes),
        (
            "?strategy=offloading&code=yes",
            lambda row: (
                row.artifact_kind in SOFTWARE and "offloading" in row.strategies and row.code_url
            ),
        ),
        ("?q=VLLM", lambda row: row.artifact_name == "vLLM"),
    ],
)
def test_a_filter_keeps_what_the_fixtures_say(
    client: Client, review: Review, query: str, passes: Any
) -> None:
    wanted = {row.key for row in real_fixtures().publications if passes(row)}
    assert wanted
    assert {row["publication"] for row in found(client, query)} == wanted


def test_sizes_come_largest_first_and_unknown_ones_last(client: Client, review: Review) -> None:
    sizes = [row["max_params_billion"] for row in found(client, "?sort=size")]
    known = [size for size in sizes if size is not None]
    assert known == sorted(known, reverse=True)
    assert sizes[len(known) :] == [None] * (len(sizes) - len(known))


def test_claims_are_counted_by_axis_and_the_best_is_of_that_axis(
    client: Client, review: Review
) -> None:
    for row in found(client, "?kind=all"):
        claims = Claim.objects.filter(publication__key=row["publication"]).select_related(
            "axis__quantity"
        )
        by_axis = Counter(str(claim.axis) for claim in claims)
        assert {one["axis"]: one["claims"] for one in row["quantities"]} == by_axis
        for one in row["quantities"]:
            best = Claim.objects.by_code([one["best_claim"]]).get()
            mine = [claim for claim in claims if str(claim.axis) == one["axis"]]
            assert best.as_stated == one["best"]
            if best.axis.quantity.axis_kind == AxisKind.RATIO and best.plotted:
                assert best.plotted == max(claim.plotted or 0 for claim in mine)


def test_where_lower_is_better_the_lowest_number_is_the_best(review: Review) -> None:
    axis = Claim.objects.filter(
        axis__quantity__axis_kind=AxisKind.VALUE, axis__quantity__direction="lower_better"
    )[0].axis
    publication = Claim.objects.earliest("pk").publication
    publication.claims.update(axis=axis, plotted=9)
    lowest = publication.claims.earliest("-position")
    Claim.objects.filter(pk=lowest.pk).update(plotted=1)
    [artifact] = artifacts([publication])
    assert [one.best for one in artifact.reported] == [lowest]


def test_what_is_ticked_is_compared(client: Client, review: Review) -> None:
    page = client.get("/frameworks/").content.decode()
    keys = re.findall(r'name="publications" value="([-\w]+)"', page)[:2]
    response = client.get("/compare/", {"publications": keys}, follow=True)
    assert response.status_code == 200
    assert response.redirect_chain == [(f"/compare/?publications={','.join(sorted(keys))}", 302)]


@pytest.mark.parametrize("query", ["kind=nope", "sort=%00", "q=%00", "class=" + "x" * 5000])
def test_what_cannot_be_asked_is_said(client: Client, review: Review, query: str) -> None:
    assert client.get(f"/frameworks/?{query}").status_code == 400
