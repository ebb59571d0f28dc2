"""The comparison page: what it shows, what it refuses, what it costs."""

import csv
import html
import io
import json
import re
from itertools import accumulate
from urllib.parse import quote

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.synthetic import add_publications
from reviewapp.corpus.models import Publication, Review
from taxonomy.comparison.latex import escape
from taxonomy.models import Claim, Evidence, Strategy
from tests import factories
from tests.factories import publication
from tests.queries import count_queries

THREE = "/compare/?strategies=offloading,pruning,quantization"


def text_of(client: Client, url: str) -> str:
    """Return what a reader of the page sees, in one line."""
    response = client.get(url)
    assert response.status_code == 200, (url, response.status_code)
    without_tags = re.sub(
        r"<script.*?</script>|<[^>]+>", " ", response.content.decode(), flags=re.S
    )
    return " ".join(html.unescape(without_tags).split())


def rows_of(client: Client, query: str) -> dict[str, dict[str, str]]:
    """Return the comparison's rows by property, from the CSV export."""
    response = client.get(f"/compare/export.csv?{query}")
    assert response.status_code == 200
    return {
        row["property"]: row
        for row in csv.DictReader(io.StringIO(response.content.decode("utf-8-sig")))
    }


def claim(of: Publication, value: float, unit: str = "x", **values: str) -> Claim:
    """Give the publication a claim about its throughput."""
    return factories.claim(
        of,
        value=value,
        unit=unit,
        **{
            **values,
        },
    )


def test_counts_ranges_and_sources_are_those_of_the_evidence(client: Client, review: Review):
    counted = Publication.objects.in_review().filter(strategies__slug="offloading")
    claims = Claim.objects.filter(
        publication__in=counted, objective="throughput", unit="x"
    ).order_by("value")
    row = rows_of(client, "strategies=offloading,pruning")
    assert row["Publications"]["Offloading"] == str(counted.count())
    cell = row["Throughput in x, higher is better"]["Offloading"]
    lowest, highest = claims.first(), claims.last()
    assert lowest
    assert highest
    assert cell.startswith(f"{lowest.value:g}–{highest.value:g} x in {claims.count()} claims")
    assert lowest.publication.artifact_name in cell
    assert highest.publication.artifact_name in cell


def test_the_largest_model_names_its_publication(client: Client, review: Review):
    with_size = Publication.objects.in_review().filter(
        strategies__slug="pruning", max_params_billion__isnull=False
    )
    largest = max(with_size, key=lambda p: (p.max_params_billion, -p.pk))
    cell = rows_of(client, "strategies=offloading,pruning")["Largest model"]["Pruning"]
    assert cell == (
        f"{largest.max_params_billion:g} billion parameters "
        f"({largest.artifact_name} ({largest.year}))"
    )


def test_extensions_are_counted_apart(client: Client, review: Review):
    strategy = Strategy.objects.get(slug="pruning")
    before = rows_of(client, "strategies=offloading,pruning")
    added = publication(key="extra", membership="extension", max_params_billion=9999)
    Evidence.objects.create(publication=added, strategy=strategy)
    claim(added, 77777)
    after = rows_of(client, "strategies=offloading,pruning")
    assert int(after["Extensions"]["Pruning"]) == int(before["Extensions"]["Pruning"]) + 1
    assert {k: v for k, v in after.items() if k != "Extensions"} == {
        k: v for k, v in before.items() if k != "Extensions"
    }


def test_the_baseline_is_subtracted_from_counts_and_never_from_claimed_numbers(
    client: Client, review: Review
):
    rows = rows_of(client, "strategies=offloading,pruning&baseline=pruning")
    offloading, pruning = (
        Publication.objects.in_review().filter(strategies__slug=slug).count()
        for slug in ("offloading", "pruning")
    )
    assert rows["Publications"]["Offloading"] == f"{offloading} [+{offloading - pruning}]"
    assert rows["Publications"]["Pruning"] == str(pruning)
    assert "[" not in rows["Largest model"]["Offloading"]
    claimed = rows["Throughput in x, higher is better"]["Offloading"]
    assert re.search(r"\[[+−]\d+ claims\]$", claimed)


def test_differences_only_hides_what_is_equal(client: Client, review: Review):
    everything = rows_of(client, "strategies=pruning,quantization")
    different = rows_of(client, "strategies=pruning,quantization&diff=1")
    assert everything["Family"]["differs"] == "no"
    assert {row["differs"] for row in different.values()} == {"yes"}
    assert len(different) == sum(row["differs"] == "yes" for row in everything.values())
    assert "Differs:" in text_of(client, "/compare/?strategies=pruning,quantization&diff=1")


def test_other_units_and_directions_are_not_compared(client: Client, review: Review):
    Claim.objects.all().delete()
    for slug, unit, qualifier, direction in (
        ("pruning", "x", "up-to", "higher_better"),
        ("quantization", "%", "exact", "higher_better"),
        ("offloading", "%", "exact", "lower_better"),
    ):
        made = publication(key=f"made-{slug}", artifact_name=f"Made {slug}")
        Evidence.objects.create(publication=made, strategy=Strategy.objects.get(slug=slug))
        claim(made, 5, unit, qualifier=qualifier, direction=direction)
    shown = text_of(client, THREE)
    assert (
        "Not comparable: Offloading reports % (lower is better); Pruning reports x; "
        "Quantization reports % (higher is better)." in shown
    )
    assert (
        "Not comparable: Pruning reports x (higher is better); Offloading reports %; "
        "Quantization reports %." in shown
    )
    assert "Nothing is drawn: no two of these have claims" in shown
    assert 'class="plot"' not in client.get(THREE).content.decode()


def test_what_is_missing_says_why(client: Client, review: Review):
    Claim.objects.all().delete()
    rows = rows_of(client, "strategies=offloading,pruning")
    assert rows["Objectives with claims"]["Pruning"] == "— (no publication makes a claim)"
    assert "Nothing is drawn: there are no claims." in text_of(client, THREE)
    measured = [row for row in rows.values() if row["section"] == "Measured by case studies"]
    assert any(row["Pruning"].endswith("; not run") for row in measured)


def test_publications_are_compared_with_their_claims_conditions(client: Client, review: Review):
    first = publication(key="first", artifact_name="First", limitation="Small.")
    publication(key="second", artifact_name="Second", year=2020)
    claim(first, 3, qualifier="up-to", conditions="on one GPU")
    rows = rows_of(client, "publications=first,second&baseline=second")
    assert rows["First version"]["First"] == "2023 [+3]"
    assert rows["Throughput in x, higher is better"]["First"] == (
        "up to 3 x (speed-up; baseline: not reported; conditions: on one GPU; stated in: abstract)"
    )
    assert rows["Throughput in x, higher is better"]["Second"] == "— (no claim about throughput)"
    assert rows["Limitation"]["First"] == "Small. (basis: this project's reading)"


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("strategies=pruning,offloading", "strategies=offloading,pruning"),
        ("strategies=pruning&strategies=offloading", "strategies=offloading,pruning"),
        ("strategies=pruning,offloading,pruning&diff=1", "strategies=offloading,pruning&diff=1"),
    ],
)
def test_every_spelling_leads_to_one_address(client: Client, review: Review, asked, shown):
    response = client.get(f"/compare/?{asked}")
    assert (response.status_code, response["Location"]) == (302, f"/compare/?{shown}")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("strategies=pruning,<b>x</b>", "There is no strategy “&lt;b&gt;x&lt;/b&gt;”."),
        ("strategies=pruning,%00", "There is no strategy"),
        ("strategies=pruning,%ff%fe", "There is no strategy"),
        ("publications=nobody,nothing", "There is no publication “nobody”."),
        ("strategies=a,b,c,d,e,f,g", "At most 6 can be compared at once; 7 were chosen."),
        ("strategies=" + "x" * 10_000, "There is no strategy"),
        ("strategies=pruning&publications=a", "cannot be compared with each other"),
        ("strategies=pruning,offloading&baseline=quantization", "is not one of the strategies"),
        ("strategies=pruning,offloading&diff=maybe", "can only be 1"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(
    client: Client, review: Review, query, message
):
    for page in ("/compare/", "/compare/export.json"):
        response = client.get(f"{page}?{query}")
        assert response.status_code == 400
        assert message in response.content.decode()


def test_fewer_than_two_show_how_to_choose(client: Client, review: Review):
    assert client.get("/compare/").content.decode().count('name="strategies"') == 31
    one = client.get("/compare/?strategies=pruning&unknown=1").content.decode()
    assert re.search(r'value="pruning" checked', one)
    assert client.get("/compare/export.csv?strategies=pruning").status_code == 400
    assert client.get("/compare/export.xml?strategies=pruning,offloading").status_code == 404


def test_hostile_text_is_escaped_on_the_page_and_in_exports(client: Client, review: Review):
    nasty = "<script>alert(1)</script>"
    publication(
        key="nasty", artifact_name=nasty, title=nasty, venue_acronym="=1+1", hardware=[nasty]
    )
    other = publication(key="other", artifact_name="Other")
    claim(Publication.objects.get(key="nasty"), 2, conditions=nasty)
    claim(other, 3)
    page = client.get("/compare/?publications=nasty,other").content.decode()
    assert nasty not in page
    assert html.escape(nasty) in page
    rows = rows_of(client, "publications=nasty,other")
    assert rows["Venue"][nasty].startswith("'=1+1")


def test_json_says_the_same_as_the_page(client: Client, review: Review):
    response = client.get("/compare/export.json?strategies=offloading,pruning&baseline=pruning")
    content = json.loads(response.content)
    assert [item["slug"] for item in content["items"]] == ["offloading", "pruning"]
    rows = {row["label"]: row for section in content["sections"] for row in section["rows"]}
    assert rows["Publications"]["cells"][0]["delta"].startswith("+")
    assert rows["Throughput in x, higher is better"]["cells"][0]["details"][0]["href"]
    assert "baseline=pruning" in content["export"]["query"]


def test_latex_has_a_cell_for_every_column_of_every_row(client: Client, review: Review):
    special = r"a & b % c $ d # e _ f { g } h ~ i ^ j \ k"
    publication(key="nasty", artifact_name="Nasty", limitation=special)
    publication(key="other", artifact_name="Other")
    tex = client.get("/compare/export.tex?publications=nasty,other").content.decode()
    comments, _, table = tex.partition(r"\toprule")
    assert comments.startswith("% Peak Atlas")
    assert r"a \& b \% c \$ d \# e \_ f \{ g \} h {\textasciitilde} i" in table
    assert r"{\textasciicircum} j {\textbackslash} k" in table
    bare = re.sub(r"\\[\\&%$#_{}]", "", table)
    assert bare.count("{") == bare.count("}")
    for line in re.sub(r"\\[&]", "", table).splitlines():
        if line.endswith(r" \\") and not line.startswith(r"\multicolumn"):
            assert line.count("&") == 2, line


@given(st.text(st.characters(max_codepoint=127)))
def test_escaped_text_has_no_character_that_latex_would_obey(text: str):
    escaped = re.sub(r"\\[&%$#_{}]", "", escape(text))
    commands = re.sub(r"\{\\text[a-z]+\}|\\ensuremath\{[<>]\}", "", escaped)
    assert not re.search(r"[&%$#_~^{}\\\n]", commands)


@given(st.text())
def test_escaped_text_never_leaves_its_cell(text: str):
    escaped = re.sub(r"\\[&%$#_{}]", "", escape(text))
    depths = [0, *accumulate({"{": 1, "}": -1}.get(character, 0) for character in escaped)]
    assert min(depths) == depths[-1] == 0
    assert not re.search(r"[&%\n]", escaped)


@pytest.mark.parametrize(
    "url", [THREE, "/compare/?publications=fang2020turbotransformers,kwon2023vllm", "/compare/"]
)
def test_the_number_of_queries_does_not_grow_with_the_corpus(
    client: Client, review: Review, url: str
):
    before = count_queries(client, url)
    add_publications(150)
    assert count_queries(client, url) == before <= 12


def test_a_long_list_of_claims_shows_both_ends_and_counts_the_rest(client: Client, review: Review):
    Claim.objects.all().delete()
    strategy = Strategy.objects.get(slug="pruning")
    for n in range(20):
        made = publication(key=f"made{n}", artifact_name=f"Made{n}")
        Evidence.objects.create(publication=made, strategy=strategy)
        claim(made, n + 1)
    shown = text_of(client, f"/compare/?strategies={quote('offloading,pruning')}")
    assert "1–20 x in 20 claims" in shown
    assert "lowest Made0 (2023), highest Made19 (2023)" in shown
    assert "6 of 20 sources" in shown
