"""The note and the tags of a run: given at its start, changed, shown, found and exported."""

import csv
import io
import unicodedata
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.authtoken.models import Token

from casestudies.choices import State
from casestudies.models import LONGEST_TAG, MOST_TAGS, Run
from casestudies.runs.annotating import normalised
from tests.casestudies.drawn import board, drawn, measured_run, page
from tests.casestudies.making import a_finished_run, a_person, a_run
from tests.queries import count_queries

HOSTILE = "<script>alert(1)</script>"
TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=14)


@given(TEXTS)
def test_tags_are_kept_in_one_form_or_refused(texts: list[str]) -> None:
    try:
        tags = normalised(texts)
    except ValidationError:
        return
    assert normalised(tags) == tags
    assert normalised([f"  {tag.title().lower()} " for tag in tags]) == normalised(
        [tag.title() for tag in tags]
    )
    assert len(set(tags)) == len(tags) <= MOST_TAGS
    for tag in tags:
        assert 0 < len(tag) <= LONGEST_TAG
        assert "," not in tag
        assert not any(unicodedata.category(sign) == "Cc" for sign in tag)


def test_one_tag_has_one_form() -> None:
    assert normalised([" Two  Words ", "two words", "", "Cafe\u0301", "caf\u00e9"]) == [
        "two words",
        "caf\u00e9",
    ]


def signed_in(name: str, *permissions: str) -> Client:
    client = Client()
    client.force_login(a_person(name, *permissions))
    return client


@pytest.mark.django_db
def test_only_the_owner_and_who_looks_after_all_change_them(client: Client) -> None:
    owner = signed_in("owner", "add_run")
    run = a_finished_run()
    Run.objects.update(owner=owner.session["_auth_user_id"])
    address = f"/runs/{run.pk}/annotation/"
    for stranger in (client, signed_in("stranger", "add_run")):
        assert stranger.post(address, {"note": "x"}).status_code == 403
        assert address not in stranger.get(f"/runs/{run.pk}/").text
    for n, person in enumerate((owner, signed_in("keeper", "change_run"))):
        assert address in person.get(f"/runs/{run.pk}/").text
        sent = {"note": f"{HOSTILE}\r\nof {n}", "tags": f"{HOSTILE}, Tag  {n}"}
        assert person.post(address, sent).headers["Location"] == f"/runs/{run.pk}/"
        run.refresh_from_db()
        assert (run.note, run.tags) == (f"{HOSTILE}\nof {n}", [HOSTILE, f"tag {n}"])
    for place in (f"/runs/{run.pk}/", "/case-studies/sparsegpt/", "/dashboards/"):
        shown = client.get(place).text
        assert HOSTILE not in shown
        assert "&lt;script&gt;alert(1)" in shown


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"note": "x" * 2001}, "at most 2000 characters"),
        ({"note": "a\x07"}, "no control characters"),
        ({"note": "\x00"}, "Null characters are not allowed"),
        ({"tags": "x" * 41}, "has 41"),
        ({"tags": ",".join(map(str, range(11)))}, "at most 10 tags, not 11"),
        ({"tags": "a," * 10**5}, "All tags together have at most 1,000 characters"),
        ({"tags": "a\u202eb"}, "no characters that nobody sees"),
    ],
)
def test_what_is_no_note_or_no_tag_is_refused_with_why(sent: Any, sentence: str) -> None:
    keeper = signed_in("keeper", "change_run")
    run = a_finished_run(note="kept")
    response = keeper.post(f"/runs/{run.pk}/annotation/", sent)
    assert response.status_code == 400
    assert sentence in response.text
    run.refresh_from_db()
    assert (run.note, run.tags) == ("kept", [])


@pytest.mark.django_db
def test_an_end_of_a_line_counts_once() -> None:
    keeper, run = signed_in("keeper", "change_run"), a_finished_run()
    text = "a\r\n" * 1000
    keeper.post(f"/runs/{run.pk}/annotation/", {"note": f"b{text}".strip()})
    run.refresh_from_db()
    assert len(run.note) == 2000


@pytest.mark.django_db
def test_nobody_changes_those_of_a_reference_run() -> None:
    keeper, run = signed_in("keeper", "change_run"), a_finished_run(reference="shipped")
    assert keeper.post(f"/runs/{run.pk}/annotation/", {"note": "x"}).status_code == 403
    run.refresh_from_db()
    assert (run.note, run.tags) == ("", [])


@pytest.mark.django_db
def test_a_token_gives_them_at_the_start_and_changes_one_of_them() -> None:
    ada = a_person("ada", "add_run")

    def post(address: str, body: Any, by: Any = ada) -> Any:
        headers = {"Authorization": f"Token {Token.objects.get_or_create(user=by)[0].key}"}
        return Client().post(address, body, content_type="application/json", headers=headers)

    asked = {"study": "sparsegpt", "preset": "smoke", "note": " Why? ", "tags": [" A  B", "", "c"]}
    answer = post("/api/v1/runs/", asked)
    body = answer.json()
    assert (answer.status_code, body["note"], body["tags"]) == (201, "Why?", ["a b", "c"])
    address = f"/api/v1/runs/{body['id']}/annotation/"
    assert post(address, {"tags": ["D"]}).json()["tags"] == ["d"]
    kept = Client().get("/api/v1/runs/?tag=d").json()["results"][0]
    assert (kept["note"], kept["tags"]) == ("Why?", ["d"])
    assert post(address, {"note": ""}).json()["note"] is None
    assert post(address, {"notes": ""}).status_code == 400
    for tags in (["a,b"], [1], "a", ["x" * 41], ["a\u200bb"]):
        assert "tags" in str(post(address, {"tags": tags}).json()["error"]["fields"])
    assert post(address, {"note": "x"}, a_person("eve", "add_run")).status_code == 403
    assert Client().get("/api/v1/runs/?tag=a b").json()["count"] == 0


@pytest.mark.django_db
def test_lists_and_dashboards_are_filtered_by_tag(client: Client) -> None:
    ada = a_person("ada")
    one = measured_run(0, tags=["report", "wide"], owner=ada)
    two = measured_run(1, tags=["report"], owner=ada)
    other = measured_run(2, owner=ada)
    assert drawn("tag=report") == {one.pk, two.pk}
    assert drawn("tag=%20WIDE%20") == {one.pk}
    [facet] = [facet for facet in board("tag=wide&runs=own").facets if facet.key == "tag"]
    assert [(option.value, option.count) for option in facet.options] == [
        ("report", 2),
        ("wide", 1),
    ]
    assert "1 run drawn" in page(client, "tag=wide")
    client.force_login(ada)
    for address in ("/case-studies/sparsegpt/", "/account/"):
        chips = client.get(address).text.partition('aria-label="Filter by tag"')[2]
        assert chips.index("<bdi>report</bdi> <b>2</b>") < chips.index("<bdi>wide</bdi> <b>1</b>")
        listed = client.get(f"{address}?tag=Report").text
        assert f'<th scope="row"><a href="{one.get_absolute_url()}"' in listed
        assert f'<th scope="row"><a href="{two.get_absolute_url()}"' in listed
        assert f'<th scope="row"><a href="{other.get_absolute_url()}"' not in listed
        assert "the tag “<bdi>none</bdi>”" in client.get(f"{address}?tag=none").text
        assert client.get(f"{address}?tag={'x' * 41}").status_code == 400
    without = [facet.key for facet in board("study=qmoe").facets]
    assert "tag" not in without


@pytest.mark.django_db
def test_they_are_in_the_exports(client: Client) -> None:
    run = measured_run(tags=["=cmd()", "two"], note="@why")
    for address in (f"/runs/{run.pk}/measurements.csv", "/dashboards/export.csv"):
        content = client.get(address).getvalue().decode("utf-8-sig")
        row = next(csv.DictReader(io.StringIO(content)))
        assert (row["note"], row["tags"]) == ("'@why", "'=cmd(); two")
    points = client.get("/dashboards/export.json").json()["charts"][0]["points"]
    assert (points[0]["note"], points[0]["tags"]) == ("@why", ["=cmd()", "two"])


@pytest.mark.django_db
def test_the_database_keeps_the_limits() -> None:
    with pytest.raises(IntegrityError, match="run_tags_few"), transaction.atomic():
        a_run(tags=[str(n) for n in range(11)])
    assert a_run(tags=[str(n) for n in range(10)]).tags


@pytest.mark.django_db
def test_tags_cost_no_queries(client: Client) -> None:
    address = "/case-studies/sparsegpt/"
    a_finished_run(tags=["one"])
    before = count_queries(client, address)
    for n in range(5):
        a_run(state=State.CANCELLED, tags=[f"tag {n}", "one"], note="why")
    assert count_queries(client, address) == before
