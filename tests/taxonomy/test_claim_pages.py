"""The page of each claim, and files of claims."""

import csv
import io
import json
import re
from html import unescape
from typing import Any

import pytest
from django.test import Client

from benchmarks.synthetic import add_publications
from casestudies.lab.catalogue import STUDIES
from reviewapp.corpus.models import Review
from taxonomy.choices import RemarkKind, Status
from taxonomy.claim_pages.page import MOST_RUNS
from taxonomy.claims import outcomes
from taxonomy.claims.outcomes import Finding, Judged, Number
from taxonomy.claims.reading import with_everything
from taxonomy.models import Claim, Outcome, Remark
from tests import factories
from tests.casestudies.making import a_finished_run, a_run

pytestmark = pytest.mark.django_db

SPARSITY = "frantar2023sparsegpt-0"


def main(client: Client, code: str) -> str:
    response = client.get(f"/claims/{code}/")
    assert response.status_code == 200
    return response.content.decode().partition("<main")[2].partition("</main>")[0]


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_each_claim_has_a_page_with_all_that_is_doubted_and_no_other_strategy(
    client: Client, review: Review
) -> None:
    claims = with_everything(Claim.objects.all())
    assert len(claims) == 177
    for claim in claims:
        html = main(client, claim.code)
        shown = text(html)
        linked = set(re.findall(r'href="/taxonomy/([\w-]+)/"', html))
        assert linked == {one.strategy.slug for one in claim.attributions.all()}
        for remark in claim.remarks.all():
            if remark.kind == RemarkKind.DOUBT:
                assert shown.count(" ".join(remark.text.split())) == 1
        counted = [one.strategy.name for one in claim.attributions.all() if one.counted]
        missing = [one for one in claim.attributions.all() if not one.counted]
        assert ("by this project’s reading; not counted" in shown) == bool(missing)
        assert ("It is attributed to no strategy." in shown) == (not counted)
        assert claim.axis.quantity.definition.split(";")[0] in shown
        device = re.search(r"<dt>Device</dt><dd>(.*?)</dd>", html)
        assert device
        assert text(device[1]).startswith(claim.hardware or "device not stated")
        planned = "planned; this site has no such study yet" in shown
        assert planned == bool(claim.study and claim.study not in STUDIES)
        assert len(re.findall(r'<li><a href="/claims/', html)) <= 12


def test_a_page_shows_every_run_and_says_which_do_not_count(client: Client, review: Review) -> None:
    """Those on other hardware may say otherwise: then both are shown, and neither wins."""
    runs = [a_finished_run() for _ in range(4)]
    said = [
        Judged(runs[0].pk, "sparsegpt", "CPU, 2 cores", rank=1),
        Judged(runs[1].pk, "sparsegpt", "NVIDIA H100", rank=1),
        Judged(runs[2].pk, "sparsegpt", "CPU, 2 cores", rank=0, counts=False),
        Judged(runs[3].pk, "sparsegpt", "CPU, 2 cores", rank=2, counts=False),
    ]
    statuses = [Status.SUPPORTED, Status.NOT_REPRODUCED, Status.NOT_REPRODUCED, Status.SUPPORTED]
    for judged, status in zip(said, statuses, strict=True):
        outcomes.keep([(judged, [Finding(SPARSITY, status, "", (Number("sparsity", 0.612345),))])])
    html = main(client, SPARSITY)
    rows = [
        text(row) for row in re.findall(r"<tr>\s*<th scope=\"row\">(.*?)</tr>", html, re.DOTALL)
    ]
    assert [row.split(" supported")[0].split(" not repro")[0] for row in rows] == [
        f"Run {run.pk}" for run in reversed(runs)
    ]
    assert "changed parameters: not counted" in rows[0]
    assert "smoke: not counted" in rows[1]
    assert not any("not counted" in row for row in rows[2:])
    assert all("sparsity 0.6123" in row for row in rows)
    shown = text(html)
    assert "Runs say different things: " in shown
    assert f"supported on CPU, 2 cores, run {runs[0].pk}" in shown
    assert f"not reproduced on NVIDIA H100, run {runs[1].pk}" in shown


def test_a_page_says_how_many_earlier_runs_it_does_not_show(client: Client, review: Review) -> None:
    (claim,) = Claim.objects.by_code([SPARSITY])
    runs = [a_run().pk for _ in range(MOST_RUNS + 2)]

    def shown_and_said(count: int) -> tuple[int, str]:
        claim.outcomes.all().delete()
        Outcome.objects.bulk_create(
            Outcome(claim=claim, run=run, study="sparsegpt", status=Status.SUPPORTED)
            for run in runs[:count]
        )
        html = main(client, SPARSITY)
        assert f"Run {runs[count - 1]} " in text(html)
        return html.count('<th scope="row">'), "".join(re.findall("And .* earlier runs?", html))

    assert shown_and_said(MOST_RUNS) == (MOST_RUNS, "")
    assert shown_and_said(MOST_RUNS + 1) == (MOST_RUNS, "And 1 earlier run")
    assert shown_and_said(MOST_RUNS + 2) == (MOST_RUNS, "And 2 earlier runs")


def test_a_page_says_where_two_readings_differ_and_what_was_corrected(
    client: Client, review: Review
) -> None:
    shown = text(main(client, "frantar2023qmoe-0"))
    assert "A second reader, who had not seen the first reading, differs." in shown
    assert "Scope: here isolated; second reading combined." in shown
    assert "Strategies: here Quantization; second reading Quantization, Memory" in shown
    assert "The second reader’s doubt: ratio depends on the natural sparsity" in shown
    shown = text(main(client, "huang2018gpipe-2"))
    assert "settled figure from press coverage" in shown
    assert "corrected Source: press coverage, before: paper" in shown
    shown = text(client.get("/publications/liu2023dejavu/").content.decode())
    assert "corrected Month: October, before: July" in shown


def test_hostile_words_of_a_claim_are_only_text(client: Client, review: Review) -> None:
    evil = '"><script>alert(1)</script>'
    made = factories.claim(
        factories.publication(key="evil2023", title=evil, artifact_name=evil),
        metric=evil,
        baseline=evil,
        conditions="=1+1",
        unit=evil,
    )
    Remark.objects.create(publication=made.publication, claim=made, kind="doubt", text=evil)
    for address in ("/claims/evil2023-0/", "/publications/evil2023/"):
        html = client.get(address).content.decode()
        assert "<script>alert" not in html
    assert text(main(client, "evil2023-0")).count(f"doubt {evil}") == 1
    (row,) = rows(client, "publication=evil2023")
    assert row["conditions"] == "'=1+1"


def test_an_unknown_claim_is_named_and_leads_to_its_publication(
    client: Client, review: Review
) -> None:
    for place in ("99", "00", "99999"):
        response = client.get(f"/claims/frantar2023sparsegpt-{place}/")
        assert response.status_code == 404
        html = response.content.decode()
        assert f"There is no claim “frantar2023sparsegpt-{place}”" in html
        assert "/publications/frantar2023sparsegpt/#claims" in html
    response = client.get("/claims/nothing/")
    assert response.status_code == 404
    assert "No publication has the key" in response.content.decode()


def test_neighbours_are_the_nearest_of_the_axis(client: Client, review: Review) -> None:
    add_publications(400)
    claim = Claim.objects.by_code(["kurtic2022obert-0"]).get()
    others = Claim.objects.filter(axis=claim.axis).exclude(pk=claim.pk).exclude(plotted=None)
    assert others.count() > 12
    distances = {one.code: apart(claim, one) for one in others.select_related("publication")}
    html = main(client, claim.code)
    codes = re.findall(r'<li><a href="/claims/([\w-]+)/"', html)
    assert [distances[code] for code in codes] == sorted(distances.values())[:12]
    assert "an axis is not a ranking" in html
    Claim.objects.filter(pk=claim.pk).update(plotted=None)
    html = main(client, claim.code)
    codes = re.findall(r'<li><a href="/claims/([\w-]+)/"', html)
    highest = sorted((one.plotted or 0 for one in others), reverse=True)[:12]
    assert "the highest first" in text(html)
    assert [Claim.objects.by_code([code]).get().plotted for code in codes] == highest


def test_numbers_are_near_by_their_ratio_and_where_there_is_none_by_their_difference(
    client: Client, review: Review
) -> None:
    made = factories.publication(key="doe2023near")
    axis = Claim.objects.by_code(["kurtic2022obert-0"]).get().axis
    Claim.objects.filter(axis=axis).update(plotted=None)
    for plotted in (0.4, 0.2, 1.2, 0, -0.6):
        factories.claim(made, axis=axis, plotted=plotted)

    def near(position: int) -> list[str]:
        html = main(client, f"doe2023near-{position}")
        return re.findall(r'<li><a href="/claims/doe2023near-(\d)/"', html)

    assert near(0) == ["3", "1", "4", "2"], "half of 0.4 is nearer than three times as much"
    assert near(3) == ["1", "0", "4", "2"]


def apart(one: Claim, other: Claim) -> float:
    """Return how many times one number is the other, the larger over the smaller."""
    assert one.plotted
    assert other.plotted
    return max(one.plotted / other.plotted, other.plotted / one.plotted)


def rows(client: Client, query: str) -> list[dict[str, str]]:
    response = client.get(f"/claims/export.csv?{query}")
    assert response.status_code == 200
    read = io.StringIO(response.getvalue().decode("utf-8-sig"))
    return list(csv.DictReader(read))


def test_files_hold_what_the_api_lists_and_say_where_they_are_from(
    client: Client, review: Review
) -> None:
    query = "strategy=pruning&scope=isolated&scope=combined"
    listed: Any = client.get(f"/api/v1/claims/?page_size=100&{query}").json()["results"]
    exported = json.loads(client.get(f"/claims/export.json?{query}").getvalue())
    assert exported["claims"] == listed
    assert exported["export"]["query"].endswith(f"/claims/export.json?{query}")
    found = rows(client, query)
    assert [row["code"] for row in found] == [one["code"] for one in listed]
    assert len(found) > 2
    for row, one in zip(found, listed, strict=True):
        assert "pruning" in row["strategies"].split("; ")
        assert row["axis_quantity"] == one["axis"]["quantity"]
        assert row["certainty_device_named"] == one["certainty"]["device_named"]
        assert "CC BY 4.0" in row["export_licence"]
    response = client.get("/claims/export.csv?stratgey=pruning")
    assert response.status_code == 400
    assert "There is no key “stratgey” here." in unescape(response.content.decode())
    assert client.get("/claims/export.csv?scope=%00").status_code == 400
