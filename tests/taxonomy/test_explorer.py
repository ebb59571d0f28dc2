"""The taxonomy explorer: its counts against the fixtures, its selection, its search, its limits."""

import csv
import io
import re
from html import unescape
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from benchmarks.synthetic import add_publications
from reviewapp.corpus.models import Publication, Review
from taxonomy.choices import Objective
from taxonomy.explorer.gap_map import gap_map
from taxonomy.explorer.tree import tree
from taxonomy.models import Evidence, Strategy
from taxonomy.queries import revision
from tests import factories
from tests.conftest import real_fixtures
from tests.factories import publication
from tests.queries import count_queries

pytestmark = pytest.mark.django_db


def get(client: Client, address: str = "", **headers: str) -> str:
    response = client.get(f"/taxonomy/{address}", headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def counted_rows() -> list[Any]:
    """The fixtures' publications that the review counts."""
    return [p for p in real_fixtures().publications if p.membership.status != "extension"]


def groups() -> list[tuple[str, str, dict[str, set[str]]]]:
    """Family, group, and the group's strategies with their classes, as the fixtures have them."""
    return [
        (family.slug, group.slug, {s.slug: set(s.classes) for s in group.strategies})
        for family in real_fixtures().taxonomy.families
        for group in family.groups
    ]


def nodes(branch: dict[str, Any], place: str = "") -> dict[str, tuple[int, int]]:
    """Direct and total counts of an exported tree, by the way down to each node."""
    here = f"{place}/{branch['slug']}"
    found = {here: (branch["publications_direct"], branch["publications"])}
    for child in branch["children"]:
        found |= nodes(child, here)
    return found


def filed(strategies: set[str], class_: str = "") -> int:
    """How many counted publications of the fixtures are under any of the strategies."""
    return sum(
        bool(strategies & set(row.strategies)) and (not class_ or class_ in row.classes)
        for row in counted_rows()
    )


def test_each_node_counts_each_publication_below_it_once(client: Client, review: Review) -> None:
    expected = {"/all": (0, 65)}
    for family, group, strategies in groups():
        every = {s for f, _, some in groups() if f == family for s in some}
        expected[f"/all/{family}"] = (0, filed(every))
        expected[f"/all/{family}/{group}"] = (0, filed(set(strategies)))
        for slug in strategies:
            expected[f"/all/{family}/{group}/{slug}"] = (filed({slug}), filed({slug}))
    assert nodes(client.get("/taxonomy/export.json").json()["tree"]) == expected


def test_below_a_class_only_its_own_publications_count(client: Client, review: Review) -> None:
    expected = {"/all": (0, 65)}
    for class_ in ("training", "inference", "serving"):
        own = sum(class_ in row.classes for row in counted_rows())
        expected[f"/all/{class_}"] = (own, own)
        families: dict[str, set[str]] = {}
        for family, group, strategies in groups():
            serving = {slug for slug, classes in strategies.items() if class_ in classes}
            if not serving:
                continue
            families[family] = families.get(family, set()) | serving
            place = f"/all/{class_}/{family}/{group}"
            expected[place] = (0, filed(serving, class_))
            for slug in serving:
                expected[f"{place}/{slug}"] = (filed({slug}, class_),) * 2
        for family, below in families.items():
            expected[f"/all/{class_}/{family}"] = (0, filed(below, class_))
    found = nodes(client.get("/taxonomy/export.json?pivot=class").json()["tree"])
    assert found == expected


@pytest.mark.parametrize("pivot", ["family", "class"])
def test_each_cell_of_the_map_counts_publications_and_claims(
    client: Client, review: Review, pivot: str
) -> None:
    text = client.get(f"/taxonomy/export.csv?pivot={pivot}").content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["objective"] for row in rows} == set(Objective.values)
    assert len(rows) == (31 if pivot == "family" else 57) * len(Objective)
    for row in rows:
        about = [
            sum(claim.objective == row["objective"] for claim in p.claims)
            for p in counted_rows()
            if row["strategy"] in p.strategies and (not row["class"] or row["class"] in p.classes)
        ]
        counts = (int(row["publications"]), int(row["claims"]))
        assert counts == (sum(n > 0 for n in about), sum(about)), row


@pytest.mark.parametrize("pivot", ["family", "class"])
def test_every_count_opens_a_list_of_that_many(client: Client, review: Review, pivot: str) -> None:
    state = revision()
    links = [(n.list_url, n.publications) for n in tree(pivot, state).walk() if n.publications]
    rows = [row for section in gap_map(pivot, state).sections for row in section.rows]
    links += [(cell.url, cell.publications) for row in rows[::7] for cell in row.cells if cell.url]
    for address, n in links:
        html = client.get(address).content.decode()
        assert re.search(rf'id="shown"[^>]*>\s*{n} publication', html), address


def test_one_selection_marks_the_tree_and_narrows_the_map(client: Client, review: Review) -> None:
    html = get(client, "?select=strategy:pruning")
    assert len(re.findall(r'aria-selected="true"', html)) == 1
    assert re.search(r'id="in-tree-strategy:pruning"[^>]*aria-selected="true"', html)
    assert re.findall(r'id="in-map-strategy:([\w-]+)"', html) == [
        "distillation",
        "quantization",
        "pruning",
    ]
    assert html.count('<tr class="selected"') == 1
    assert 'href="/taxonomy/pruning/"' in html
    assert "Removes what contributes least" in html


def test_empty_columns_and_cells_stay_visible(client: Client, review: Review) -> None:
    html = get(client)
    assert '<th scope="col">Reliability</th>' in html
    assert html.count("no publication makes such a claim") == 31 * 9 - html.count(
        '<td class="shade'
    )


def test_the_selection_survives_a_change_of_order(client: Client, review: Review) -> None:
    html = get(client, "?select=strategy:pruning")
    other = re.search(r'id="pivot-2" href="/taxonomy/([^"]+)"', html)
    assert other
    html = get(client, unescape(other[1]))
    assert 'id="in-tree-strategy:pruning@training"' in html
    assert re.search(r'<tr class="selected"[^>]*><th[^>]*><a id="in-map-strategy:pruning@', html)
    back = re.search(r'id="pivot-1" href="/taxonomy/([^"]+)"', html)
    assert back
    assert 'aria-selected="true"' in get(client, unescape(back[1]))


def names(html: str) -> list[str]:
    return re.findall(r'class="name">([^<]+)<', html)


def test_searching_the_tree_keeps_what_is_above_and_below(client: Client, review: Review) -> None:
    above = ["Training optimization", "Size reduction optimization"]
    assert names(get(client, "?q=PRUNING")) == [*above, "Pruning"]
    assert names(get(client, "?q=size+red")) == [
        *above,
        "Knowledge distillation",
        "Quantization",
        "Pruning",
    ]
    html = get(client, "?q=<script>")
    assert "No name in the tree contains “&lt;script&gt;”" in html
    assert "<script>”" not in html


def test_htmx_gets_the_same_content_without_the_page_around_it(
    client: Client, review: Review
) -> None:
    whole = get(client, "?select=group:size-reduction")
    part = get(client, "?select=group:size-reduction", HX_Request="true")
    restored = get(
        client, "?select=group:size-reduction", HX_Request="true", HX_History_Restore_Request="true"
    )
    assert "<!doctype html>" in whole
    assert "<!doctype html>" in restored
    assert "<!doctype html>" not in part
    assert names(part) == names(whole)
    response = client.get("/taxonomy/")
    assert "HX-Request" in response["Vary"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select=strategy:nope", "There is no “strategy:nope”"),
        ("select=pruning", "There is no “pruning”"),
        ("select=class:serving", "There is no “class:serving”"),
        ("select=%3Cscript%3E", "There is no “&lt;script&gt;”"),
        ("pivot=nope", "nope"),
        ("q=%00", "Null characters"),
        ("q=" + "a" * 10_000, "at most 200"),
        ("select=" + "%F0%28" * 2_000, "at most 200"),
    ],
)
@pytest.mark.parametrize("page", ["/taxonomy/", "/taxonomy/export.csv"])
def test_what_makes_no_sense_is_refused_with_a_reason(
    client: Client, review: Review, page: str, query: str, message: str
) -> None:
    response = client.get(f"{page}?{query}")
    assert response.status_code == 400
    assert message in response.content.decode()


def test_an_empty_database_has_an_empty_explorer(client: Client) -> None:
    assert "0 publications, 0 strategies" in get(client)
    assert client.get("/taxonomy/export.csv").status_code == 200


def test_the_counts_follow_every_change_at_once(client: Client, review: Review) -> None:
    def pruning() -> tuple[str, str]:
        html = get(client)
        count = re.search(r'id="in-tree-strategy:pruning".*?class="n">([^<]+)<', html)
        row = re.search(r'id="in-map-strategy:pruning".*?</tr>', html, re.DOTALL)
        assert count
        assert row
        return count[1], re.sub(r"<[^>]+>", "", row[0].split("</td>")[1])

    assert pruning() == ("4 / 4", "2 pubs 3 claims")
    added = publication()
    Evidence.objects.create(publication=added, strategy=Strategy.objects.get(slug="pruning"))
    assert pruning() == ("5 / 5", "2 pubs 3 claims")
    about = {"metric": "speedup", "unit": "x", "direction": "higher_better", "source": "paper"}
    claim = factories.claim(added, **about)
    assert pruning() == ("5 / 5", "3 pubs 4 claims")
    claim.objective = "memory"
    claim.save()
    assert pruning() == ("5 / 5", "2 pubs 3 claims")
    Publication.objects.filter(pk=added.pk).update(membership="extension")
    assert pruning() == ("4 / 4", "2 pubs 3 claims")
    Strategy.objects.filter(slug="pruning").update(name="Cutting")
    assert "Cutting" in get(client)


def test_the_number_of_queries_does_not_depend_on_the_corpus(
    client: Client, review: Review
) -> None:
    def queries(address: str) -> int:
        tree.cache_clear()
        gap_map.cache_clear()
        return count_queries(client, f"/taxonomy/{address}")

    addresses = ["", "?pivot=class", "?select=group:size-reduction"]
    before = [queries(address) for address in addresses]
    add_publications(150)
    assert [queries(address) for address in addresses] == before
    assert max(before) <= 14


@pytest.mark.django_db(transaction=True)
def test_writers_do_not_wait_for_each_other_and_each_commit_gives_a_new_revision() -> None:
    call_command("load_review", "fixtures", verbosity=0)
    add = (
        "INSERT INTO taxonomy_remark (publication_id, kind, field, before, text, source, settled)"
        " VALUES (%s, 'doubt', '', '', 'too good', '', false)"
    )
    first, second = Publication.objects.values_list("pk", flat=True)[:2]
    parameters = {k: v for k, v in connection.get_connection_params().items() if k in DIRECT}
    seen = [revision()]
    with psycopg.connect(**parameters) as one, psycopg.connect(**parameters) as two:
        two.execute("SET lock_timeout = '5s'")
        one.execute(add, [first])
        two.execute(add, [second])
        seen.append(revision())
        two.commit()
        seen.append(revision())
        one.commit()
        seen.append(revision())
    assert seen[0] == seen[1], "what is not committed is not seen"
    assert len(set(seen)) == 3


DIRECT = {"dbname", "host", "port", "user", "password"}
