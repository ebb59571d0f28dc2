"""The comparison page: what it shows, what it refuses, what it costs."""

import csv
import html
import io
import json
import re
from itertools import accumulate
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewapp.corpus.choices import Membership
from reviewapp.corpus.models import Publication, Review
from taxonomy.choices import Scope, Status
from taxonomy.claims.outcomes import Finding, Judged, keep
from taxonomy.comparison.effects import label as effects_label
from taxonomy.comparison.latex import escape
from taxonomy.models import Attribution, Axis, Claim, ClaimDevice, Evidence, Strategy
from tests import factories
from tests.casestudies.making import a_finished_run
from tests.factories import publication

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


def axis(quantity: str) -> Axis:
    return Axis.objects.filter(quantity__slug=quantity).earliest("id")


def claim(of: Publication, value: float, *strategies: str, **values: Any) -> Claim:
    """Give the publication a claim of an isolated effect of the strategies."""
    made = factories.claim(
        of,
        **{
            "axis": axis("memory-reduction"),
            "value": value,
            "plotted": value,
            "ratio": value,
            "ratio_rule": "factor",
            "scope": "isolated",
            **values,
        },
    )
    for position, strategy in enumerate(Strategy.objects.filter(slug__in=strategies)):
        Attribution.objects.create(claim=made, strategy=strategy, position=position)
    return made


def shown_axes(page: str) -> list[str]:
    """Return what stands on the page as charts: the slug of each."""
    return re.findall(r'<figure class="chart" id="([^"]+)"', page)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_number_under_a_strategy_is_attributed_to_it_and_of_its_row(
    client: Client, review: Review, data: st.DataObject
):
    slugs = sorted(Strategy.objects.values_list("slug", flat=True))
    chosen = sorted(data.draw(st.sets(st.sampled_from(slugs), min_size=2, max_size=6)))
    query = f"strategies={','.join(chosen)}"
    content = json.loads(client.get(f"/compare/export.json?{query}").content)
    ids = dict(Strategy.objects.filter(slug__in=chosen).values_list("slug", "pk"))
    effects = {slug: list(Claim.objects.effects_of(pk)) for slug, pk in ids.items()}
    axes = {effects_label(axis): axis.pk for axis in Axis.objects.select_related("quantity")}
    for section in content["sections"] + content["one_sided"]:
        for row in section["rows"]:
            own = axes.get(row["label"])
            for slug, cell in zip(chosen, row["cells"], strict=True):
                claims = linked_claims(cell)
                assert set(claims) <= set(effects[slug])
                if own:
                    assert {found.axis_id for found in claims} <= {own}
                    here = sum(effect.axis_id == own for effect in effects[slug])
                    assert len(cell["details"]) + cell["more"] == here
    response = Client().get(f"/compare/?{query}").content.decode()
    figures = re.split(r'(?=<figure class="chart" id=")', response)[1:]
    for figure in figures:
        (pk,) = map(int, re.findall(r'^<figure class="chart" id="axis-(\d+)-', figure))
        drawing = figure.split("</figure>")[0]
        found = Claim.objects.by_code(re.findall(r'href="/claims/([^/"]+)/', drawing))
        assert {one.axis_id for one in found} == {pk}
        everything = Claim.objects.effects_of(*ids.values())
        assert set(found) <= set(everything)


def linked_claims(cell: dict[str, Any]) -> list[Claim]:
    codes = [part["href"].split("/")[2] for part in cell["details"] if "/claims/" in part["href"]]
    return list(Claim.objects.by_code(codes))


def test_a_claim_stands_only_under_the_strategy_it_is_attributed_to(client: Client, review: Review):
    Claim.objects.all().delete()
    made = publication(key="made", artifact_name="Made", hardware=["Supercomputer"])
    for slug in ("pruning", "quantization", "offloading"):
        Evidence.objects.create(publication=made, strategy=Strategy.objects.get(slug=slug))
    claim(made, 29, "pruning")
    hidden = claim(made, 31)
    pruning = Strategy.objects.get(slug="offloading")
    Attribution.objects.create(claim=hidden, strategy=pruning, position=0, counted=False)
    rows = rows_of(client, "strategies=offloading,pruning,quantization")
    (row,) = (row for name, row in rows.items() if name.startswith("Memory reduction"))
    assert row["Pruning"] == "29 x (isolated; Made (2023))"
    assert row["Quantization"].startswith("— (no claim about memory reduction")
    assert row["Offloading"].startswith("— (")
    assert rows["Bottom line"]["Pruning"] == (
        "One isolated claim, 29 x memory reduction, fine-tuning; not tried here."
    )
    assert rows["Bottom line"]["Offloading"] == "No claim of an effect."
    assert rows["Hardware seen"]["Pruning"] == "— (no claim names its device)"
    assert "Supercomputer" not in json.dumps(rows)
    shown = client.get(THREE).content.decode()
    assert "1 more row: only one of these has a claim there" in shown
    assert "Nothing is drawn" in shown


def test_two_quantities_in_the_same_unit_have_rows_and_charts_of_their_own(
    client: Client, review: Review
):
    Claim.objects.all().delete()
    for slug in ("pruning", "quantization"):
        made = publication(key=f"made-{slug}", artifact_name=f"Made {slug}")
        claim(made, 5, slug)
        claim(made, 7, slug, axis=axis("model-size-reduction"))
    charts = shown_axes(client.get("/compare/?strategies=pruning,quantization").content.decode())
    assert len(charts) == 2
    rows = rows_of(client, "strategies=pruning,quantization")
    by_quantity = {name.split(" (")[0].split(",")[0]: row["Pruning"] for name, row in rows.items()}
    assert by_quantity["Memory reduction"].startswith("5 x")
    assert by_quantity["Model-size reduction"].startswith("7 x")


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
    assert re.search(r"\[[+−]?\d+\]$", rows["Claims, isolated"]["Offloading"])
    for row in rows.values():
        if row["section"] in {"Memory", "Speed", "Quality", "Cost"}:
            assert "[" not in row["Offloading"]


def test_what_runs_here_found_is_told_at_once(client: Client, review: Review):
    url = "/compare/?strategies=pruning,quantization"
    client.get(url)  # what is claimed is remembered, what came of it is not
    claimed = Claim.objects.effects_of(Strategy.objects.get(slug="pruning").pk)
    run = a_finished_run()
    isolated = claimed.filter(scope=Scope.ISOLATED).earliest("pk")
    other = claimed.exclude(scope=Scope.ISOLATED).earliest("pk")
    found = [Finding(one.code, Status.SUPPORTED) for one in (isolated, other)]
    keep([(Judged(run.pk, "sparsegpt", "CPU"), found)])
    rows = rows_of(client, "strategies=pruning,quantization")
    assert rows["Tried here"]["Pruning"] == "supported ×2"
    assert "; one of them tried here." in rows["Bottom line"]["Pruning"], "of the isolated claims"
    assert "supported ×2" in text_of(client, url)


def test_what_supports_a_strategy_is_said_of_one_two_and_many(client: Client, review: Review):
    Claim.objects.all().delete()
    made = publication(key="made", artifact_name="Made")

    def add(value: float, **values: Any) -> Claim:
        return claim(made, value, "pruning", **values)

    def said(row: str = "Bottom line") -> str:
        return rows_of(client, "strategies=offloading,pruning")[row]["Pruning"]

    none, memory = "No isolated claim; ", "x memory reduction, fine-tuning"
    first = add(3, scope="combined", qualifier="approx")
    assert said() == f"{none}one combined claim, approx. 3 {memory}; not tried here."
    second = add(3, scope="combined", qualifier="at-least")
    assert said() == f"{none}two combined claims, 3 {memory}; none of them tried here."
    Claim.objects.filter(pk=second.pk).update(value=5, plotted=5, ratio=5)
    assert said() == f"{none}two combined claims, 3 to 5 {memory}; none of them tried here."
    add(9, scope="combined", qualifier="up-to")
    assert said() == f"{none}three combined claims, up to 9 {memory}; none of them tried here."
    isolated = add(2, plotted=None, ratio=None, ratio_rule="none")
    assert said() == "One isolated claim, none a factor; not tried here."
    run = Judged(a_finished_run().pk, "x", "CPU")
    keep([(run, [Finding(isolated.code, Status.NOT_RUN, "needs a GPU")])])
    assert said() == "One isolated claim, none a factor; not tried here."
    keep([(run, [Finding(isolated.code, Status.SUPPORTED)])])
    assert said() == "One isolated claim, none a factor; tried here."
    for value in (4, 6):
        add(value, axis=axis("model-size-reduction"))
    add(7)
    assert said() == (
        "Four isolated claims, 4 to 6 x model-size reduction; one of them tried here."
    )
    for one in (first, second):
        ClaimDevice.objects.create(claim=one, role="stated", position=0, name="X", is_product=True)
    assert said("Hardware seen") == "X ×2; device not stated ×5"
    for n in range(7):
        ClaimDevice.objects.create(
            claim=isolated, role="stated", position=n, name=f"D{n}", is_product=True
        )
    *named, rest, missing = said("Hardware seen").split("; ")
    assert (named[0], rest, missing) == (
        "X ×2",
        f"and {8 - len(named)} more",
        "device not stated ×4",
    )
    assert set(named[1:]) <= {f"D{n} ×1" for n in range(7)}


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("classes=training,serving,inference", ["inference", "serving", "training"]),
        ("families=training-optimization,hardware-optimization", None),
        ("groups=size-reduction,memory-optimization", None),
    ],
)
def test_classes_families_and_groups_are_compared_by_their_counts(
    client: Client, review: Review, query: str, slugs: list[str] | None
):
    page = client.get(f"/compare/?{query}", follow=True)
    assert page.status_code == 200
    assert "compare tray</button>" not in page.content.decode()
    content = json.loads(client.get(f"/compare/export.json?{query}").content)
    rows = {row["label"]: row for section in content["sections"] for row in section["rows"]}
    assert all(cell["amount"] > 0 for cell in rows["Strategies"]["cells"])
    if slugs:
        assert [item["slug"] for item in content["items"]] == slugs
        for slug, cell in zip(slugs, rows["Publications counted"]["cells"], strict=True):
            counted = Publication.objects.in_review().filter(classes__slug=slug).count()
            assert cell["amount"] == counted
        for status, label in Membership.choices:
            cells = rows[f"Publications, {label.lower()}"]["cells"]
            for slug, cell in zip(slugs, cells, strict=True):
                filed = Publication.objects.filter(classes__slug=slug, membership=status)
                assert cell["amount"] == filed.count()
        claims = Claim.objects.filter(publication__classes__slug="serving")
        scopes = [row for label, row in rows.items() if label.startswith("Claims, ")]
        assert sum(row["cells"][1]["amount"] for row in scopes) == claims.count()


def test_under_a_class_stand_the_claims_of_its_publications_which_is_said(
    client: Client, review: Review
):
    said = "Under a class stand the claims of the publications filed under it"
    assert said in text_of(client, "/compare/?classes=inference,serving")
    assert said not in text_of(client, "/compare/?strategies=pruning,quantization")


def test_publications_are_compared_with_their_claims_conditions(client: Client, review: Review):
    first = publication(key="first", artifact_name="First", limitation="Small.")
    publication(key="second", artifact_name="Second", year=2020)
    claim(first, 3, qualifier="up-to", conditions="on one GPU")
    rows = rows_of(client, "publications=first,second&baseline=second")
    assert rows["First version"]["First"] == "2023 [+3]"
    publication(key="third", artifact_name="Third", year=2023)
    alike = rows_of(client, "publications=first,third&baseline=third")
    assert alike["First version"]["First"] == "2023 [0]"
    (row,) = (row for name, row in rows.items() if name.startswith("Memory reduction"))
    assert row["First"] == "up to 3 x (isolated; First (2023))"
    shown = text_of(client, "/compare/?publications=first,second")
    assert "baseline not reported; device not stated; on one GPU" in shown
    assert rows["Limitation"]["First"] == "Small. (basis: this project's reading)"


def test_a_long_list_of_claims_shows_both_ends_and_counts_the_rest(client: Client, review: Review):
    Claim.objects.all().delete()
    for n in range(20):
        claim(publication(key=f"made{n}", artifact_name=f"Made{n}"), n + 1, "pruning")
    shown = text_of(client, "/compare/?strategies=offloading,pruning")
    assert "1–20 x in 20 claims" in shown
    assert "off the axis" not in shown
    assert "3 of 20 sources" in shown
    assert "Source: what 12 publications say; each mark leads to its claim." in shown
    assert "logarithmic" not in shown
    assert "Drawn are the highest 12 of 20." in shown
    off_axis = {"plotted": None, "ratio": None, "ratio_rule": "none"}
    made = publication(key="off", artifact_name="Off")
    claim(made, 30, "pruning", **off_axis)
    for _ in range(2):
        claim(made, 30, "pruning", axis=axis("model-size-reduction"), **off_axis)
    shown = text_of(client, "/compare/?strategies=offloading,pruning")
    assert "1–20 x in 20 claims; 1 more off the axis" in shown
    assert "2 claims without a place on the axis" in shown
    Claim.objects.all().delete()
    for value in (2, 9_000):
        claim(made, value, "pruning")
    shown = text_of(client, "/compare/?strategies=offloading,pruning")
    assert "Source: what 1 publication says; each mark leads to its claim." in shown
    assert "The axis is logarithmic." in shown
    assert "Drawn are" not in shown


def test_the_json_has_the_rows_of_the_page_in_its_order(client: Client, review: Review):
    query = "strategies=offloading,pruning&baseline=pruning"
    content = json.loads(client.get(f"/compare/export.json?{query}").content)
    sections = content["sections"] + content["one_sided"]
    labels = [row["label"] for section in sections for row in section["rows"]]
    assert list(rows_of(client, query)) == list(dict.fromkeys(labels))
    page = client.get(f"/compare/?{query}").content.decode()
    assert set(re.findall(r'colspan="(\d+)"', page)) == {"3"}, "of the properties and both"
    heads = re.findall(r'<th scope="row">(.*?)</th>', page)
    without_marks = [re.sub(r'<span class="mark".*?</span></span> |<span.*', "", h) for h in heads]
    assert list(map(html.unescape, without_marks)) == labels
    assert "baseline=pruning" in content["export"]["query"]


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


def test_publications_of_extensions_are_counted_apart_and_their_claims_named_as_such(
    client: Client, review: Review
):
    strategy = Strategy.objects.get(slug="pruning")
    before = rows_of(client, "strategies=offloading,pruning")
    added = publication(key="extra", membership="extension", max_params_billion=9999)
    Evidence.objects.create(publication=added, strategy=strategy)
    claim(added, 77777, "pruning")
    after = rows_of(client, "strategies=offloading,pruning")
    for row, more in (("Extensions", 1), ("Publications", 0), ("Claims, isolated", 1)):
        assert int(after[row]["Pruning"]) == int(before[row]["Pruning"]) + more, row
    content = client.get("/compare/export.json?strategies=offloading,pruning").json()
    rows = {row["label"]: row for section in content["sections"] for row in section["rows"]}
    for label in ("Publications", "Extensions"):
        for cell in rows[label]["cells"]:
            opened = text_of(client, cell["parts"][0]["href"] or "/publications/?q=zzzyx")
            assert f" {cell['amount']} publication" in opened, "opens as many as it counts"
    page = text_of(client, "/compare/?strategies=offloading,pruning")
    assert re.search(r"2023, extension\)[^.]{0,40}77,777 x", page)


def test_differences_only_hides_what_is_equal(client: Client, review: Review):
    everything = rows_of(client, "strategies=pruning,quantization")
    different = rows_of(client, "strategies=pruning,quantization&diff=1")
    assert everything["Family"]["differs"] == "no"
    assert "Note" not in everything
    assert "Note" in rows_of(client, "strategies=distillation,pruning")
    assert {row["differs"] for row in different.values()} == {"yes"}
    assert len(different) == sum(row["differs"] == "yes" for row in everything.values())
    assert "Differs:" in text_of(client, "/compare/?strategies=pruning,quantization&diff=1")


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
