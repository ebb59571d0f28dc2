"""The taxonomy explorer: its counts against the fixtures, its selection, its search, its limits."""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from reviewapp.corpus.models import Publication, Review
from taxonomy.choices import Objective, Status
from taxonomy.claims.outcomes import Finding, Judged, keep
from taxonomy.explorer.tree import tree
from taxonomy.loading.claim_facts import ClaimFacts
from taxonomy.models import Attribution, Claim, Evidence, Strategy
from taxonomy.queries import revision
from tests import factories
from tests.casestudies.making import a_finished_run
from tests.conftest import real_fixtures
from tests.factories import publication

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


FILTERS: dict[str, dict[str, Any]] = {
    "": {},
    "membership=named&to=2022": {"members": {"named"}, "last": 2022},
    "membership=all": {"members": {"named", "reconstructed", "extension"}},
    "class=serving&from=2022&to=2020": {"class_": "serving", "first": 2020, "last": 2022},
    "memory=at-most&gb=24": {"passes": lambda gb: gb is not None and gb <= 24},
    "memory=at-least&gb=48": {"passes": lambda gb: gb is not None and gb >= 48},
    "memory=not-stated": {"passes": lambda gb: gb is None},
}
STRENGTHS = ["isolated", "combined", "against another"]
CPU = {"model", "direction", "same-quantity"}


def memory_of(facts: ClaimFacts) -> float | None:
    """The largest of a claim's own devices, or the least of alternatives."""
    own = [device.memory_gb for device in [*facts.hardware, *facts.hardware_implied]]
    sizes = sorted(gb for gb in own if gb)
    if not sizes:
        return None
    return sizes[0] if facts.hardware_alternatives else sizes[-1]


def counted_by_hand(
    strategy: str,
    class_: str,
    objective: str,
    *,
    members: set[str] = frozenset({"named", "reconstructed"}),  # type: ignore[assignment]
    only_class: str = "",
    first: int = 0,
    last: int = 9999,
    passes: Callable[[float | None], bool] = lambda gb: True,
) -> dict[str, str]:
    """What one row of the export has to say, from the fixtures alone."""
    publications = [
        row
        for row in real_fixtures().publications
        if {class_, only_class} - {""} <= set(row.classes) and first <= row.year <= last
    ]
    filed = [p for p in publications if strategy in p.strategies and p.membership.status in members]
    found = [
        (row, facts)
        for row in publications
        for position, claim in enumerate(row.claims)
        for facts in [real_fixtures().claims[row.key, position]]
        if claim.objective == objective
        and strategy in facts.attribution.strategies
        and passes(memory_of(facts))
    ]
    ours = [(p, facts) for p, facts in found if p.membership.status in members]
    theirs = {p.key for p, _ in found if p.membership.status not in members} & {
        p.key for p in publications if p.membership.status == "extension"
    }
    scopes = {facts.attribution.scope.replace("-", " ") for _, facts in ours}
    strongest = min(scopes, key=STRENGTHS.index, default="only an extension" if theirs else "none")
    return {
        "publications": str(len({p.key for p, _ in ours})),
        "claims": str(len(ours)),
        "filed": str(len(filed)),
        "extensions": str(len(theirs)),
        "claims_for_cpu": str(sum(facts.replication.testable in CPU for _, facts in ours)),
        "strongest": strongest,
    }


def exported(client: Client, query: str = "") -> list[dict[str, str]]:
    text = client.get(f"/taxonomy/export.csv?{query}").content.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("query", FILTERS)
@pytest.mark.parametrize("pivot", ["family", "class"])
def test_each_cell_of_the_map_counts_what_is_attributed(
    client: Client, review: Review, pivot: str, query: str
) -> None:
    rows = exported(client, f"pivot={pivot}&{query}")
    assert len(rows) == (31 if pivot == "family" else 57) * len(Objective)
    asked = dict(FILTERS[query])
    asked["only_class"] = asked.pop("class_", "")
    for row in rows:
        expected = counted_by_hand(row["strategy"], row["class"], row["objective"], **asked)
        assert row == row | expected
    assert any(row["publications"] != "0" for row in rows)


def in_cells(html: str) -> list[tuple[int, str, float, str]]:
    """The shade, the mark, its radius and the visible text of each cell of the map."""
    cells = re.findall(r'<td class="s(\d)">(.*?)</td>', html)
    marks = [re.search(r'class="bubble ([\w-]+)".*?class="ring" r="([\d.]+)"', c) for _, c in cells]
    shown = [re.search(r'(?:class="n"[^>]*|span aria-hidden="true")>([^<]+)<', c) for _, c in cells]
    return [
        (
            int(shade),
            mark[1] if mark else "",
            float(mark[2]) if mark else 0,
            text[1] if text else "",
        )
        for (shade, _), mark, text in zip(cells, marks, shown, strict=True)
    ]


def test_a_cell_is_drawn_as_its_row_of_the_export_says(client: Client, review: Review) -> None:
    rows, cells = exported(client), in_cells(get(client))
    assert len(cells) == len(rows)
    for row, (shade, mark, radius, text) in zip(rows, cells, strict=True):
        n = int(row["publications"])
        assert shade == (n >= 1) + (n >= 2) + (n >= 3) + (n >= 5) + (n >= 10)
        if n:
            assert (mark.replace("-", " "), text) == (row["strongest"], str(n))
            assert radius**2 / n == pytest.approx(5.1**2, rel=0.05), "the area is the number"
        else:
            assert (mark, text) == (("extension", "ext.") if int(row["extensions"]) else ("", "·"))


@pytest.mark.parametrize("query", FILTERS)
@pytest.mark.parametrize("pivot", ["family", "class"])
def test_a_cell_opens_the_claims_that_it_counts(
    client: Client, review: Review, pivot: str, query: str
) -> None:
    rows = [row for row in exported(client, f"pivot={pivot}&{query}") if row["claims"] != "0"]
    html = get(client, f"?pivot={pivot}&{query}")
    links = re.findall(r'<td class="s[1-5]"><a href="([^"]+)#claims"', html)
    assert len(links) == len(rows)
    for row, link in list(zip(rows, map(unescape, links), strict=True))[::11]:
        path, _, asked = link.partition("?")
        page = client.get(link).content.decode()
        listed = re.findall(r'<tr id="claim-([\w-]+)">(.*?)</th>', page, re.DOTALL)
        all_count = "membership=all" in query
        own = [code for code, name in listed if all_count or ">extension<" not in name]
        assert len(own) == int(row["claims"])
        assert f'href="{path}#claims"' in page, "the way back to all"
        content = client.get(f"{path}export.csv?{asked}").getvalue().decode("utf-8-sig")
        codes = {line["code"] for line in csv.DictReader(io.StringIO(content))}
        assert codes == {code for code, _ in listed}


def test_an_objective_counts_each_publication_once(client: Client, review: Review) -> None:
    shown = dict(re.findall(r'id="sort-([\w-]+)"[^\n]*?class="n">(\d+)<', get(client)))
    assert set(shown) == set(Objective.values)
    for objective, n in shown.items():
        once = {
            row.key
            for row in counted_rows()
            for position, claim in enumerate(row.claims)
            if claim.objective == objective
            and real_fixtures().claims[row.key, position].attribution.strategies
        }
        assert int(n) == len(once), objective


def test_an_empty_cell_opens_the_nearest_evidence(client: Client, review: Review) -> None:
    html = get(client)
    claimed = {
        (row["strategy"], row["objective"])
        for row in exported(client)
        if row["strongest"] != "none"
    }
    slugs = {s.name: s.slug for s in Strategy.objects.all()}
    objectives = {label.lower(): value for value, label in Objective.choices}
    empty = re.findall(r'<a class="none" href="([^"]+)" title="Nearest: ([^"]+)"', html)
    assert len(empty) == 279 - len(claimed)
    for address, nearest in empty:
        name, _, objective = unescape(nearest).rpartition(", ")
        assert (slugs[name], objectives[objective]) in claimed
        assert address == f"/taxonomy/{slugs[name]}/?objective={objectives[objective]}#claims"
    assert "Pruning, quality: no claim; nearest: Knowledge distillation, quality" in html


def test_the_map_is_sorted_by_any_column_of_its_address(client: Client, review: Review) -> None:
    def order(sort: str) -> list[str]:
        html = get(client, f"?sort={sort}")
        assert html.count('aria-sort="descending"') + html.count('aria-sort="ascending"') == 1
        return re.findall(r'<th scope="row"><a href="/taxonomy/([\w-]+)/">', html)

    rows = exported(client)
    filed = {row["strategy"]: int(row["filed"]) for row in rows}
    assert [filed[slug] for slug in order("filed")] == sorted(filed.values(), reverse=True)
    strengths = [*STRENGTHS, "only an extension", "none"]
    for objective in Objective.values:
        of = {
            r["strategy"]: (
                -int(r["publications"]),
                strengths.index(r["strongest"]),
                -int(r["claims"]),
            )
            for r in rows
            if r["objective"] == objective
        }
        assert [of[slug] for slug in order(objective)] == sorted(of.values())
    names = {s.slug: s.name.casefold() for s in Strategy.objects.all()}
    assert [names[slug] for slug in order("name")] == sorted(names.values())


def test_a_column_sorts_the_map_and_asked_again_gives_the_first_order_back(
    client: Client, review: Review
) -> None:
    def links(address: str) -> dict[str, str]:
        found = re.findall(r'<a id="sort-([\w-]+)" href="([^"]+)"', get(client, address))
        return {key: unescape(href) for key, href in found}

    first, sorted_ = links(""), links("?sort=memory")
    assert set(first) == {"name", "filed", *Objective.values}
    assert all(f"sort={key}" in href for key, href in first.items())
    assert "sort" not in sorted_["memory"]
    assert {key: sorted_[key] for key in sorted_ if key != "memory"} == {
        key: first[key] for key in first if key != "memory"
    }


def test_gaps_worth_closing_have_the_most_publications_and_no_isolated_claim(
    client: Client, review: Review
) -> None:
    html = get(client)
    rows = [
        r for r in exported(client) if r["publications"] != "0" and r["strongest"] != "isolated"
    ]
    rows.sort(key=lambda row: (-int(row["publications"]), -int(row["claims_for_cpu"])))
    names = {s.slug: s.name for s in Strategy.objects.all()}
    gaps = re.search(r'<aside class="gaps.*?</aside>', html, re.DOTALL)
    assert gaps
    listed = re.findall(r'<li><a href="[^"]+">([^<]+)</a>.*?<b>(\d+)</b>', gaps[0], re.DOTALL)
    assert [(unescape(name), n) for name, n in listed] == [
        (f"{names[r['strategy']]} × {r['objective'].replace('-', ' ')}", r["publications"])
        for r in rows[: len(listed)]
    ]
    widths = re.findall(r'class="part" width="(\d+)%"', gaps[0])
    most = int(rows[0]["publications"])
    assert [int(width) for width in widths] == [
        pytest.approx(100 * int(r["publications"]) / most, abs=0.5) for r in rows[: len(listed)]
    ]
    assert widths[-1] != "100"
    assert f"And {len(rows) - len(listed)} more" in gaps[0]
    assert "About reliability: of no strategy." in gaps[0]


@pytest.mark.parametrize("query", ["", "membership=named"])
def test_a_sentence_sums_the_map_up_and_what_nobody_claims_is_named(
    client: Client, review: Review, query: str
) -> None:
    html, rows = get(client, f"?{query}"), exported(client, query)
    claimed = [row for row in rows if row["publications"] != "0"]
    isolated = {row["strategy"] for row in claimed if row["strongest"] == "isolated"}
    cells = sum(row["strongest"] == "isolated" for row in claimed)
    assert (
        f"{len(claimed)} of {len(rows)} pairs of strategy and objective have a claim. "
        f"In {cells} a claim isolates the strategy; in 0 a claim was tried here. "
        f"{31 - len(isolated)} of 31 strategies have no isolated claim that counts here"
    ) in html
    names = {s.slug: s.name for s in Strategy.objects.all()}
    silent = {r["strategy"]: r["filed"] for r in rows}
    for row in claimed:
        silent.pop(row["strategy"], None)
    named = re.search(r">Of ([^<]+): about no objective", html)
    assert unescape(named[1] if named else "") == ", ".join(
        f"{names[slug]} ({n} filed)" for slug, n in silent.items()
    )


def test_the_largest_circle_fits_into_its_cell(client: Client, review: Review) -> None:
    pruning = Strategy.objects.get(slug="pruning")
    for n in range(20):
        claim = factories.claim(publication(key=f"doe2023n{n}"), objective="cost", scope="isolated")
        Attribution.objects.create(claim=claim, strategy=pruning, position=0)
    drawn = [(int(text), radius) for _, _, radius, text in in_cells(get(client)) if text.isdigit()]
    most, largest = max(drawn)
    assert most > 20
    assert 15 < largest < 20
    assert all(r == pytest.approx(max(2, largest * (n / most) ** 0.5), abs=0.1) for n, r in drawn)


def cell_of(client: Client, strategy: str, objective: str) -> dict[str, str]:
    return next(
        row
        for row in exported(client)
        if (row["strategy"], row["objective"]) == (strategy, objective)
    )


def test_what_runs_here_found_shows_at_once(client: Client, review: Review) -> None:
    claim = (
        Claim.objects.effects_of(Strategy.objects.get(slug="pruning").pk)
        .select_related("publication")
        .filter(testable__in=CPU)[0]
    )
    about = Judged(a_finished_run().pk, "sparsegpt", "CPU, 2 cores")
    place = "pruning", claim.objective
    before = cell_of(client, *place)
    keep([(about, [Finding(claim.code, Status.NOT_RUN, "needs a GPU")])])
    assert cell_of(client, *place) == before, "a claim that no run judged may still be tried"
    keep([(about, [Finding(claim.code, Status.NOT_REPRODUCED)])])
    refuted = cell_of(client, *place)
    assert refuted["strongest"] == before["strongest"], "no stronger than before"
    assert refuted["tried"] == "not reproduced"
    assert int(refuted["claims_for_cpu"]) == int(before["claims_for_cpu"]) - 1
    keep([(about, [Finding(claim.code, Status.DIRECTION_AGREES)])])
    assert cell_of(client, *place)["strongest"] == "tried here"
    cells = sum(row["tried"] != "" for row in exported(client))
    assert cells
    assert f"; in {cells} a claim was tried here." in get(client)
    keep([(replace(about, counts=False), [Finding(claim.code, Status.NOT_REPRODUCED)])])
    assert cell_of(client, *place) == before, "a changed run is listed and no more"


@pytest.mark.parametrize("pivot", ["family", "class"])
def test_every_count_opens_a_list_of_that_many(client: Client, review: Review, pivot: str) -> None:
    links = [(n.list_url, n.publications) for n in tree(pivot, revision()).walk() if n.publications]
    for address, n in links:
        html = client.get(address).content.decode()
        assert re.search(rf'id="shown"[^>]*>\s*{n} publication', html), address


def marked(html: str) -> list[str]:
    return re.findall(r'<tr class="selected"><th scope="row"><a href="/taxonomy/([\w-]+)/"', html)


def test_one_selection_marks_the_tree_and_the_map(client: Client, review: Review) -> None:
    html = get(client, "?select=strategy:pruning")
    assert len(re.findall(r'aria-selected="true"', html)) == 1
    assert re.search(r'id="in-tree-strategy:pruning"[^>]*aria-selected="true"', html)
    assert marked(html) == ["pruning"]
    assert "Removes what contributes least" in html
    group = "select=group:size-reduction"
    assert marked(get(client, f"?{group}")) == ["distillation", "quantization", "pruning"]
    assert {r["strategy"] for r in exported(client, group)} == set(marked(get(client, f"?{group}")))
    beside = exported(client, "select=strategy:pruning")
    assert {row["strategy"] for row in beside} == {"distillation", "quantization", "pruning"}
    crumbs = re.search(r'<nav class="crumbs".*?</nav>', html, re.DOTALL)
    assert crumbs
    assert re.findall(r">([^<]+)</a>", crumbs[0]) == [
        "All strategies",
        "Training optimization",
        "Size reduction optimization",
    ]


def test_the_filters_keep_the_order_and_the_selection(client: Client, review: Review) -> None:
    html = get(client, "?sort=memory&select=strategy:pruning&memory=at-most&gb=16&from=2021")
    assert "Filters: the review’s own, since 2021, device memory at most 16 GB" in html
    assert 'name="gb" min="1" max="1000000" value="16"' in html
    assert 'name="gb" min="1" max="1000000" value="24"' in get(client, "?memory=at-most")
    assert '<input type="hidden" name="sort" value="memory">' in html
    assert '<input type="hidden" name="select" value="strategy:pruning">' in html
    for wanted in ("sort=memory", "gb=16", "memory=at-most", "from=2021"):
        assert re.search(rf'id="in-tree-strategy:quantization" href="[^"]*{wanted}', html)
    reset = re.search(r'id="reset-filters" href="/taxonomy/([^"]+)"', html)
    assert reset
    assert unescape(reset[1]) == "?sort=memory&select=strategy%3Apruning"


def test_the_selection_survives_a_change_of_order(client: Client, review: Review) -> None:
    html = get(client, "?select=strategy:pruning")
    other = re.search(r'id="pivot-2" href="/taxonomy/([^"]+)"', html)
    assert other
    html = get(client, unescape(other[1]))
    assert 'id="in-tree-strategy:pruning@training"' in html
    assert re.findall(r'id="pivot-(\d)"[^>]*aria-current="true"', html) == ["2"]
    assert marked(html) == ["pruning"]
    back = re.search(r'id="pivot-1" href="/taxonomy/([^"]+)"', html)
    assert back
    assert 'aria-selected="true"' in get(client, unescape(back[1]))


def test_classes_first_leads_to_their_comparison(client: Client, review: Review) -> None:
    link = re.search(r'href="([^"]+)">Compare all classes<', get(client, "?pivot=class"))
    assert link
    assert "3 classes side by side" in client.get(link[1]).content.decode()


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
    html = get(client, "?q=PRUNING&sort=memory&select=strategy:pruning")
    search = html.partition('hx-target="#tree"')[2].partition("</form>")[0]
    assert re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', search) == [
        ("sort", "memory"),
        ("select", "strategy:pruning"),
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
        ("sort=nope", "nope"),
        ("class=nope", "nope"),
        ("class=%00", "valid choice"),
        ("membership=nope", "nope"),
        ("memory=guessed", "guessed"),
        ("memory=at-most&gb=0", "greater than or equal to 1"),
        ("memory=at-most&gb=9999999", "less than or equal to"),
        ("memory=at-most&gb=1_0", "whole number"),
        ("memory=at-most&gb=" + "9" * 5_000, "whole number"),
        ("from=%D9%A2", "whole number"),
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
    pruning = Strategy.objects.get(slug="pruning")

    def shown() -> tuple[str, str, str, str]:
        count = re.search(r'id="in-tree-strategy:pruning".*?class="n">([^<]+)<', get(client))
        assert count
        row = cell_of(client, "pruning", "cost")
        return count[1], row["publications"], row["claims"], row["strongest"]

    assert shown() == ("4 / 4", "1", "1", "isolated")
    added = publication()
    Evidence.objects.create(publication=added, strategy=pruning)
    claims = [factories.claim(added, objective="cost", scope="combined") for _ in range(2)]
    assert shown() == ("5 / 5", "1", "1", "isolated"), "no claim is attributed to it yet"
    for claim in claims:
        Attribution.objects.create(claim=claim, strategy=pruning, position=0)
    assert shown() == ("5 / 5", "2", "3", "isolated")
    claims[0].objective = "latency"
    claims[0].save()
    assert shown() == ("5 / 5", "2", "2", "isolated")
    Attribution.objects.filter(claim=claims[1]).update(counted=False)
    assert shown() == ("5 / 5", "1", "1", "isolated")
    Attribution.objects.filter(claim=claims[1]).update(counted=True)
    Claim.objects.filter(objective="cost").exclude(pk=claims[1].pk).update(objective="memory")
    assert shown() == ("5 / 5", "1", "1", "combined")
    Publication.objects.filter(pk=added.pk).update(membership="extension")
    assert shown() == ("4 / 4", "0", "0", "only an extension")
    added.delete()
    assert shown() == ("4 / 4", "0", "0", "none")
    Evidence.objects.filter(strategy=pruning).delete()
    assert shown()[0] == "0 / 0"
    Strategy.objects.filter(slug="pruning").update(name="Cutting")
    assert "Cutting" in get(client)


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
