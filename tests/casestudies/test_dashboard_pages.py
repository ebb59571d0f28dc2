"""The dashboards' exports and addresses, and the page with no runs and with many."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.http import QueryDict
from django.test import Client

from casestudies.dashboards.forms import read_selection
from casestudies.dashboards.queries import MOST_RUNS
from casestudies.lab.catalogue import STUDIES
from casestudies.models import Run
from tests.casestudies.drawn import GPU, board, measured_run, page
from tests.casestudies.making import NOON
from tests.queries import count_queries

SPARSEGPT = STUDIES["sparsegpt"]

# Exports


def as_rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["", "baseline=wanda", "together=1", "x=sparsity&runs=own", "study=all"]
)
def test_exports_hold_exactly_the_points_of_the_page(client: Client, query: str) -> None:
    measured_run(0)
    measured_run(1, hardware=GPU)
    tables = {chart.title: chart.rows for chart in board(query).charts}
    rows = as_rows(client.get(f"/dashboards/export.csv?{query}").content)
    content = client.get(f"/dashboards/export.json?{query}").json()
    assert {c["title"]: len(c["points"]) for c in content["charts"]} == {
        title: len(shown) for title, shown in tables.items()
    }
    for title, shown in tables.items():
        exported = [row for row in rows if row["chart"] == title]
        assert [row["variant"] for row in exported] == [cells[1] for cells in shown]
        assert all(row["run"] in cells[0] for row, cells in zip(exported, shown, strict=True))
    assert sum(map(len, tables.values())) == len(rows)


@pytest.mark.django_db
def test_an_exported_point_says_all_that_its_number_depends_on(client: Client) -> None:
    run = measured_run(parameters={**SPARSEGPT.check("quick", {}).model_dump(), "sparsity": 0.6})
    row = as_rows(client.get("/dashboards/export.csv?baseline=wanda").content)[-1]
    assert row["run_address"] == f"/runs/{run.pk}/"
    assert row["hardware"] == run.hardware
    assert row["model"] == "Example-135M (aaaaaaaa)"
    assert "sparsity 0.6" in row["settings"]
    assert row["finished"] == "2026-03-01T12:00:00+00:00"
    assert row["drawn_together"] == "no"
    assert (row["run_id"], row["seed"]) == (str(run.pk), "0")
    assert row["commit"] == run.environment["commit"]
    assert {name: row[f"parameters_{name}"] for name in run.parameters} == {
        name: str(value) for name, value in run.parameters.items()
    }
    assert row["export_query"].endswith("?baseline=wanda")
    first = client.get("/dashboards/export.json?baseline=wanda").json()["charts"][0]["points"][0]
    assert (first["variant"], first["x"], first["y"]) == ("magnitude", 2.0, 13.0)
    assert first["y_measured"] == 26.0
    assert client.get("/dashboards/export.exe").status_code == 404


# The address


def test_the_address_leaves_out_defaults_and_survives_a_round_trip() -> None:
    assert read_selection(QueryDict("study=sparsegpt&x=compression+time&unknown=1")).url == (
        "/dashboards/"
    )
    for slug in (*list(STUDIES)[1:], "all"):
        assert read_selection(QueryDict(f"study={slug}")).url == f"/dashboards/?study={slug}"
    asked = "hardware=A&device=cpu&preset=quick&runs=own&x=sparsity&y=perplexity&baseline=dense"
    asked += "&curve=reconstruction+error+by+layer&group=0123456789&together=1"
    selection = read_selection(QueryDict(asked))
    again = read_selection(QueryDict(selection.url.partition("?")[2]))
    assert again == selection
    assert set(selection.query) == set(QueryDict(asked))


@pytest.mark.django_db
def test_blank_values_of_a_form_are_left_out_of_the_address(client: Client) -> None:
    response = client.get("/dashboards/?study=sparsegpt&hardware=&runs=own&x=compression+time")
    assert (response.status_code, response["Location"]) == (302, "/dashboards/?runs=own")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("study=nope", 400),
        ("x=nope", 400),
        ("baseline=%3Cscript%3E", 400),
        ("study=all&baseline=dense", 400),
        ("device=tpu", 400),
        ("preset=huge", 400),
        ("curve=nope", 400),
        ("hardware=%00", 400),
        ("hardware=" + "x" * 10_000, 400),
        ("group=" + "x" * 10_000, 400),
        ("hardware=nothing+like+it", 200),
        ("unknown=1&together=%ff", 200),
        ("x=sparsity&y=sparsity", 200),
        ("study=all&x=perplexity", 200),
    ],
)
@pytest.mark.parametrize("path", ["", "export.csv", "export.json"])
def test_hostile_values_are_answered_not_crashed_on(
    client: Client, path: str, query: str, status: int
) -> None:
    measured_run()
    response = client.get(f"/dashboards/{path}?{query}")
    assert response.status_code == status
    assert b"<script>" not in response.content


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["", "study=qmoe", "study=all", "together=1&runs=own"])
def test_without_runs_the_page_says_so(client: Client, query: str) -> None:
    shown = page(client, query)
    assert "No run of this study has a result yet" in shown or "No study has been run" in shown
    assert "plotly" not in shown
    assert as_rows(client.get(f"/dashboards/export.csv?{query}").content) == []


@pytest.mark.django_db
def test_a_filter_that_leaves_nothing_says_how_to_go_back(client: Client) -> None:
    measured_run()
    shown = page(client, "runs=reference&x=sparsity")
    assert "No run passes all of these filters" in shown
    assert '<a href="/dashboards/?x=sparsity">Show all runs</a>' in shown


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["", "together=1", "study=all", "study=all&x=perplexity&y=peak+memory"]
)
def test_the_number_of_queries_does_not_depend_on_the_runs(
    client: Client, many_runs: Callable[[int], None], query: str
) -> None:
    address = f"/dashboards/?{query}"
    many_runs(2)
    few = count_queries(client, address)
    many_runs(20)
    assert count_queries(client, address) == few
    assert few <= 6


@pytest.fixture
def many_runs() -> Callable[[int], None]:
    def make(n: int) -> None:
        for hour in range(n):
            measured_run(hour, hardware=GPU if hour % 2 else "Example Processor")

    return make


@pytest.mark.django_db
def test_beyond_the_most_that_is_drawn_the_newest_are_and_the_page_says_so(
    client: Client,
) -> None:
    oldest = measured_run()
    fields = {f.name: getattr(oldest, f.name) for f in Run._meta.fields if f.name != "id"}
    Run.objects.bulk_create(
        Run(**{**fields, "finished": NOON + timedelta(hours=hour)})
        for hour in range(1, MOST_RUNS + 1)
    )
    assert f"only the newest {MOST_RUNS} of {MOST_RUNS + 1} are looked at" in page(client)
    members = [member.run.pk for listed in board().groups for member in listed.members]
    assert len(members) == MOST_RUNS
    assert oldest.pk not in members
