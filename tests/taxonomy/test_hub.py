"""The page of one strategy: its claims, its charts, its neighbours, its exports."""

import csv
import io
import json
import re
from collections import defaultdict
from html import unescape
from typing import Any

import bibtexparser
import pytest
import rispy
from django.test import Client

from benchmarks.synthetic import add_publications
from reviewapp.corpus.models import Publication, Review
from taxonomy.choices import Objective
from taxonomy.explorer.hub import hub
from taxonomy.models import Evidence, Strategy
from tests import factories
from tests.conftest import real_fixtures
from tests.factories import publication
from tests.queries import count_queries

pytestmark = pytest.mark.django_db


def page(client: Client, slug: str, query: str = "") -> str:
    response = client.get(f"/taxonomy/{slug}/{query}")
    assert response.status_code == 200
    return response.content.decode()


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def counted_rows(slug: str) -> list[Any]:
    """The fixtures' publications under the strategy that the review counts."""
    return [
        row
        for row in real_fixtures().publications
        if slug in row.strategies and row.membership.status != "extension"
    ]


def charts(html: str) -> dict[str, dict[str, Any]]:
    """The charts of claims on a page, by their titles."""
    found = re.findall(
        r'<figure class="chart" id="(claims-\d+)"[^>]*>.*?<h3>(.*?)</h3>', html, re.DOTALL
    )
    return {
        unescape(title): json.loads(
            re.search(rf'<script id="{slug}-figure"[^>]*>(.*?)</script>', html, re.DOTALL)[1]  # type: ignore[index]
        )
        for slug, title in found
    }


def test_it_says_what_the_strategy_is_and_how_sure_that_is(client: Client, review: Review) -> None:
    html = page(client, "pruning")
    strategy = Strategy.objects.get(slug="pruning")
    for part in (strategy.idea, strategy.trade, strategy.not_when):
        assert part in text(html)
    assert "several summaries of the review that agree" in html
    for place in ("family:training-optimization", "group:size-reduction", "strategy:pruning"):
        assert f'href="/taxonomy/?select={place}"' in html
    assert "?pivot=class&amp;select=strategy:pruning@inference" in html
    assert strategy.note == ""
    assert "descriptions name &#x27;model compression&#x27;" in page(client, "distillation")


def test_it_counts_the_reviews_own_and_lists_extensions_apart(
    client: Client, review: Review
) -> None:
    shown = text(page(client, "pruning"))
    assert "4 publications 11 reported claims 2 extensions, not counted" in shown
    assert "Extensions: in scope, but not counted with the review PowerInfer" in shown
    assert "No publication of the review is filed" in text(page(client, "model-cascade"))


@pytest.mark.parametrize("slug", ["memory-management", "pruning", "quantization", "offloading"])
def test_each_comparable_unit_has_one_chart_with_all_its_claims(
    client: Client, review: Review, slug: str
) -> None:
    units = defaultdict(list)
    for row in counted_rows(slug):
        for position, claim in enumerate(row.claims):
            unit = real_fixtures().claims[row.key, position].unit
            units[claim.objective, unit, claim.direction].append(claim.value)
    expected = {
        (
            f"{Objective(objective).label} in {'times the baseline (x)' if unit == 'x' else unit}: "
            f"{direction.replace('_better', '')} is better"
        ): sorted(values)
        for (objective, unit, direction), values in units.items()
        if len(values) >= 2
    }
    found = charts(page(client, slug))
    assert {title: sorted(figure["data"][0]["x"]) for title, figure in found.items()} == expected


def test_a_bound_is_marked_in_words_and_in_pattern(client: Client, review: Review) -> None:
    html = page(client, "pruning")
    bars, labels = charts(html)["Latency in times the baseline (x): higher is better"]["data"]
    assert bars["marker"]["pattern"]["shape"] == ["/", "/"]
    assert labels["text"][0].startswith("more than 2 x · DejaVu")
    assert "not a ranking" in html


def test_claims_come_with_their_conditions_and_what_is_missing(
    client: Client, review: Review
) -> None:
    rows = re.findall(r"<tr>(.*?)</tr>", page(client, "pruning"), re.DOTALL)
    row = next(text(row) for row in rows if "4.5" in row)
    assert row.startswith("SparseGPT 2023 Cost pruning time less than 4.5 h lower is better")
    assert "not reported OPT-175B and BLOOM-176B" in row
    assert row.endswith("1 × NVIDIA A100 (80 GB) abstract")


def test_long_tables_of_claims_have_pages(client: Client, review: Review) -> None:
    pages = [page(client, "memory-management", f"?page={n}") for n in (1, 2, 3)]
    sizes = [len(re.findall(r'<th scope="row">', html)) for html in pages]
    assert sizes == [25, 25, 22]
    for odd in ("abc", "0", "999999999999999999999", "-1", "%00"):
        assert "Reported claims" in page(client, "memory-management", f"?page={odd}")


def test_related_strategies_share_publications(client: Client, review: Review) -> None:
    shared: dict[str, int] = defaultdict(int)
    for row in counted_rows("quantization"):
        for other in set(row.strategies) - {"quantization"}:
            shared[other] += 1
    found = re.findall(
        r'class="chip" href="/taxonomy/([\w-]+)/">[^<]+<b>(\d+)</b>', page(client, "quantization")
    )
    assert len(found) == min(12, len(shared))
    assert all(shared[slug] == int(n) for slug, n in found)
    assert sorted((int(n) for _, n in found), reverse=True) == [int(n) for _, n in found]


def test_case_studies_of_the_review_are_named_and_nothing_is_claimed_measured(
    client: Client, review: Review
) -> None:
    shown = text(page(client, "pruning"))
    assert "The review’s case study: SparseGPT" in shown
    assert "with the aim of optimizing model training" in shown
    assert "Result: not run" in shown
    assert "None of the review’s case studies" in page(client, "continuous-batching")


def test_exports_hold_the_claims_and_the_publications(client: Client, review: Review) -> None:
    about = "/taxonomy/pruning/export."
    rows = list(csv.DictReader(io.StringIO(client.get(about + "csv").content.decode("utf-8-sig"))))
    values = sorted(claim.value for row in counted_rows("pruning") for claim in row.claims)
    assert sorted(float(row["value"]) for row in rows) == values
    assert "/taxonomy/pruning/export.csv" in rows[0]["export_query"]
    assert {row["strategy"] for row in rows} == {"pruning"}
    known = {row.key: row for row in real_fixtures().publications}
    for row in rows:
        assert row["classes"].split("; ") == list(known[row["publication"]].classes)
        assert int(row["year"]) == known[row["publication"]].year
        venue = real_fixtures().venues[row["publication"]]
        assert int(row["published_year"]) == venue.published.year
    claims = client.get(about + "json").json()["claims"]
    assert sorted(claim["value"] for claim in claims) == values
    keys = {row.key for row in real_fixtures().publications if "pruning" in row.strategies}
    bibtex = bibtexparser.parse_string(client.get(about + "bib").content.decode())
    assert {entry.key for entry in bibtex.entries} == keys
    assert len(rispy.loads(client.get(about + "ris").content.decode())) == len(keys)
    assert {item["id"] for item in client.get(about + "csl.json").json()} == keys
    assert client.get(about + "xlsx").status_code == 404


def test_hostile_text_is_shown_as_text_and_runs_nowhere(client: Client, review: Review) -> None:
    evil = '=cmd()<script>alert("x")</script>'
    made = publication(artifact_name=evil, title=evil)
    Evidence.objects.create(publication=made, strategy=Strategy.objects.get(slug="pruning"))
    for position in (0, 1):
        factories.claim(
            made,
            position=position,
            objective="cost",
            metric=evil,
            unit=evil,
            direction="lower_better",
            baseline=evil,
        )
    html = page(client, "pruning")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "'=cmd()" in client.get("/taxonomy/pruning/export.csv").content.decode()


def test_a_strategy_that_does_not_exist_is_not_found(client: Client, review: Review) -> None:
    for address in ("nope/", "nope/export.csv", "a" * 300 + "/"):
        assert client.get(f"/taxonomy/{address}").status_code == 404


def test_charts_follow_a_change_of_a_publication_at_once(client: Client, review: Review) -> None:
    page(client, "pruning")
    Publication.objects.filter(artifact_name="DejaVu").update(artifact_name="Renamed")
    assert "Renamed, latency reduction" in page(client, "pruning")


def test_the_number_of_queries_does_not_depend_on_the_corpus(
    client: Client, review: Review
) -> None:
    def queries() -> int:
        hub.cache_clear()
        return count_queries(client, "/taxonomy/pruning/")

    before = queries()
    add_publications(150)
    assert queries() == before <= 16
