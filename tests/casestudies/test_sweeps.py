"""Sweeps: asked for in the form and in the API, all runs or none, and their page."""

import csv
import io
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.test import Client
from django.utils import timezone
from rest_framework.authtoken.models import Token

from casestudies.choices import Device, State
from casestudies.lab.catalogue import STUDIES
from casestudies.models import Run, Sweep, Worker
from casestudies.studies.forms import RunForm
from casestudies.sweeps.charts import charts
from casestudies.sweeps.reading import sweep_now
from tests.casestudies.making import HERE, a_finished_run, a_person, a_run, a_sweep
from tests.queries import count_queries

pytestmark = pytest.mark.django_db

ADDRESS = "/case-studies/sparsegpt/"
SWEEPS = "/api/v1/sweeps/"
FORM = {
    **{name: str(value) for name, value in STUDIES["sparsegpt"].check("smoke", {}) if value},
    "preset": "smoke",
    "seed": "3",
    "device": "cpu",
}
ASKED = {"study": "sparsegpt", "preset": "smoke", "vary": {"sparsity": [0.5, 0.3]}}


@pytest.fixture
def ada(client: Client) -> User:
    """Somebody who may start runs, signed in."""
    person = a_person("ada", "add_run")
    client.force_login(person)
    return person


def post(body: Any, by: User, address: str = SWEEPS) -> Any:
    token, _ = Token.objects.get_or_create(user=by)
    headers = {"Authorization": f"Token {token.key}"}
    return Client().post(address, body, content_type="application/json", headers=headers)


def swept(values: list[Any], state: str, sweep: Sweep, **options: Any) -> list[Run]:
    """Return a stored run of the sweep for each value, in this state."""
    usual = STUDIES[sweep.study].check("quick", {}).model_dump(mode="json")
    options |= {"owner": sweep.owner, "sweep": sweep}
    runs = []
    for value in values:
        parameters = {**usual, sweep.parameter: value}
        if state == State.SUCCEEDED:
            measured = [
                ("perplexity ratio", "wanda", 3.0),
                ("perplexity ratio", "sparsegpt", 1 + float(value if value != "4" else 0.4)),
            ]
            runs.append(a_finished_run(measured=measured, parameters=parameters, **options))
        else:
            runs.append(a_run(state=state, parameters=parameters, **options))
    return runs


def test_the_form_starts_a_run_for_each_value_with_its_type(client: Client, ada: User) -> None:
    form = {
        **FORM,
        "vary": "window",
        "values": "128, 64;32",
        "note": "How much text?\r\nTell me",
        "tags": "Window, for  the report",
    }
    response = client.post(ADDRESS, form)
    sweep = Sweep.objects.get()
    assert response.headers["Location"] == f"/sweeps/{sweep.pk}/"
    assert (sweep.study, sweep.preset, sweep.parameter) == ("sparsegpt", "smoke", "window")
    assert (sweep.owner, sweep.note) == (ada, "How much text?\nTell me")
    runs = list(Run.objects.order_by("pk"))
    assert [run.parameters["window"] for run in runs] == [128, 64, 32]
    assert all(type(run.parameters["window"]) is int for run in runs)
    assert sweep.values == [32, 64, 128]
    for run in runs:
        assert (run.sweep, run.owner, run.state, run.seed) == (sweep, ada, "queued", 3)
        assert (run.preset, run.note, run.tags) == ("smoke", "", ["window", "for the report"])
        assert {**run.parameters, "window": 0} == {**runs[0].parameters, "window": 0}
        page = client.get(run.get_absolute_url()).content.decode()
        assert f'<a href="/sweeps/{sweep.pk}/">sweep {sweep.pk} of window</a>' in page
    study = client.get(ADDRESS).content.decode()
    assert f'<a href="/sweeps/{sweep.pk}/">sweep {sweep.pk}</a>' in study
    older = a_sweep()  # but for its number
    listed = client.get("/sweeps/?study=sparsegpt").text
    assert (
        -1
        < listed.find(f'<a href="/sweeps/{sweep.pk}/">')
        < listed.find(f'<a href="/sweeps/{older.pk}/">')
    )
    assert f'<a href="/sweeps/{sweep.pk}/">' not in client.get("/sweeps/?study=qmoe").text


@pytest.mark.parametrize(
    ("vary", "values", "sentences"),
    [
        (
            "sparsity",
            "0.5, 2, nan, abc",
            ["&#x27;2&#x27; is not valid", "&#x27;nan&#x27; is not", "&#x27;abc&#x27; is not"],
        ),
        ("sparsity", "0.5 0.50", ["0.5 stands twice"]),
        ("sparsity", "0.5", ["A sweep has 2 to 12 values, not 1."]),
        ("sparsity", " ,,", ["A sweep has 2 to 12 values, not 0."]),
        ("sparsity", ",".join(["0.5"] * 13), ["A sweep has 2 to 12 values, not 13."]),
        ("sparsity", "0.5, 0.6 " * 1000, ["at most 1000 characters"]),
        ("sparsity", "<script>, 0.5", ["&lt;script&gt;"]),
        ("", "0.5, 0.6", ["Choose the parameter"]),
        ("seed", "1, 2", ["seed is not one of the available choices"]),
    ],
)
def test_each_wrong_value_is_named_and_nothing_is_queued(
    client: Client, ada: User, vary: str, values: str, sentences: list[str]
) -> None:
    response = client.post(ADDRESS, {**FORM, "vary": vary, "values": values})
    assert response.status_code == 400
    page = response.content.decode()
    for sentence in sentences:
        assert sentence in page
    assert not Sweep.objects.exists()
    assert not Run.objects.exists()


def test_the_whole_sweep_has_to_find_a_place_in_the_queue(
    client: Client, ada: User, settings: Any
) -> None:
    settings.RUNS_QUEUED_PER_USER = 3
    a_run(owner=ada)
    form = {**FORM, "vary": "sparsity", "values": "0.3, 0.5, 0.7"}
    response = client.post(ADDRESS, form)
    assert response.status_code == 429
    assert "These are 3 runs, and you have 1 waiting of the 3" in response.text
    assert "0.3, 0.5, 0.7" in response.text
    assert not Sweep.objects.exists()
    refused = post({**ASKED, "vary": {"sparsity": [0.3, 0.5, 0.7]}}, ada)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_waiting")
    assert not Sweep.objects.exists()
    assert client.post(ADDRESS, {**form, "values": "0.3, 0.5"}).status_code == 302
    assert Run.objects.count() == 3


def test_a_value_that_no_machine_can_carry_out_refuses_all(client: Client, ada: User) -> None:
    Worker.objects.create(
        name="small",
        devices=[Device.CPU],
        machine={**HERE.__dict__, "memory_bytes": 1},
        started=timezone.now(),
        heartbeat=timezone.now(),
    )
    response = client.post(
        "/case-studies/zero/",
        {
            **{name: str(value) for name, value in STUDIES["zero"].check("smoke", {})},
            **{"preset": "smoke", "seed": "0", "device": "cpu"},
            **{"vary": "layers", "values": "2, 3"},
        },
    )
    assert response.status_code == 409
    assert "No worker here can carry layers 2 out" in response.text
    assert not Sweep.objects.exists()


def test_only_who_may_start_runs_starts_a_sweep(client: Client) -> None:
    form = {**FORM, "vary": "sparsity", "values": "0.3, 0.5"}
    back = client.post(ADDRESS, form).headers["Location"]
    assert "sign-in" in back
    assert "vary%3Dsparsity" in back
    reader = a_person("reader")
    client.force_login(reader)
    assert client.post(ADDRESS, form).status_code == 403
    assert post(ASKED, reader).status_code == 403
    assert not Sweep.objects.exists()


def test_the_form_has_no_field_that_a_parameter_of_a_study_would_replace() -> None:
    for study in STUDIES.values():
        assert not set(study.schemas) & set(RunForm.base_fields), study.slug


def test_a_token_starts_the_sweep_that_is_asked_for(ada: User) -> None:
    note = f"Why {'x' * 1996}"  # as long as one may be
    response = post({**ASKED, "note": note, "tags": ["One  Tag", "one tag"], "seed": 7}, ada)
    assert response.status_code == 201
    sweep = Sweep.objects.get()
    assert response["Location"] == f"http://testserver{SWEEPS}{sweep.pk}/"
    body = response.json()
    assert (body["parameter"], body["values"], body["note"]) == ("sparsity", [0.3, 0.5], note)
    assert (body["unfinished"], body["succeeded"]) == (2, 0)
    assert body == Client().get(response["Location"]).json()
    assert Client().get(SWEEPS).json()["results"] == [body]
    content = Client().get(f"{SWEEPS}?format=csv").getvalue().decode("utf-8-sig")
    [row] = csv.DictReader(io.StringIO(content))
    assert (row["parameter"], row["values"]) == ("sparsity", "0.3; 0.5")
    runs = Client().get(f"/api/v1/runs/?sweep={sweep.pk}&tag=One Tag").json()["results"]
    assert {run["id"] for run in runs} == set(body["runs"])
    assert [(run["sweep"], run["tags"], run["seed"]) for run in runs] == [
        (sweep.pk, ["one tag"], 7)
    ] * 2


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"vary": {"sparsity": [0.5, 2, "0.6"]}}, "vary.sparsity", "2 is not valid"),
        ({"vary": {"window": [64, 64.0]}}, "vary.window", "64 stands twice"),
        ({"vary": {"colour": ["red", "blue"]}}, "vary.colour", "The study has no such parameter."),
        ({"vary": {"sparsity": [0.5]}}, "vary.sparsity", "A sweep has 2 to 12 values, not 1."),
        ({"vary": {}}, "vary", "One parameter varies"),
        ({"vary": {"window": [1, 2], "bits": ["4", "3"]}}, "vary", "One parameter varies"),
        ({"vary": [1]}, "vary", "Expected a dictionary"),
        ({"values": [1]}, "values", "There is no such key."),
        ({"note": 7}, "note", "Not a text."),
        ({"note": "x" * 2001}, "note", "A text of 2001 characters, of at most 2000."),
        ({"tags": [f"t{n}" for n in range(11)]}, "tags", "These are 11 tags, of at most 10."),
    ],
)
def test_a_wrong_sweep_is_refused_with_what_is_wrong(
    ada: User, changes: dict[str, Any], field: str, message: str
) -> None:
    response = post({**ASKED, **changes}, ada)
    assert response.status_code == 400
    assert response.json()["error"]["fields"][field][0].startswith(message)
    assert not Sweep.objects.exists()


def test_the_page_tells_each_value_with_its_result_or_that_there_is_none(client: Client) -> None:
    sweep = a_sweep(owner=a_person(), note="<b>Why</b>")
    swept([0.7, 0.3], State.SUCCEEDED, sweep)
    swept([0.5], State.FAILED, sweep)
    swept([0.9], State.QUEUED, sweep)
    page = client.get(f"/sweeps/{sweep.pk}/").text
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    assert "&lt;b&gt;Why&lt;/b&gt;" in page
    rows = re.findall(r'<th scope="row">([\d.]+)</th>', page)
    assert rows == ["0.3", "0.5", "0.7", "0.9"]
    assert re.search(r"0\.3 run \d+ succeeded 1\.3 x", words)
    assert re.search(r"0\.5 run \d+ failed no result", words)
    assert re.search(r"0\.9 run \d+ queued none yet", words)
    assert "Without a result: 0.5 (failed), 0.9 (queued)." in words
    assert 'http-equiv="refresh"' in page
    [chart] = charts(sweep_now(sweep))
    assert "Perplexity ratio: lower is better." in chart.note
    assert "It is timed" not in chart.note
    assert (chart.x_label, chart.y_label[:16]) == ("sparsity", "perplexity ratio")
    assert len({(trace.style, trace.line) for trace in chart.traces}) == 2
    lines = {trace.name: [(mark.x, mark.y) for mark in trace.marks] for trace in chart.traces}
    assert lines == {"wanda": [(0.3, 3.0), (0.7, 3.0)], "sparsegpt": [(0.3, 1.3), (0.7, 1.7)]}
    assert [row[:3] for row in chart.rows] == [
        ["wanda", 0.3, "3"],
        ["wanda", 0.7, "3"],
        ["sparsegpt", 0.3, "1.3"],
        ["sparsegpt", 0.7, "1.7"],
    ]


def test_a_study_shows_its_newest_sweeps_and_leads_to_all_once_there_are_more(
    client: Client,
) -> None:
    owner, all_of_them = a_person(), "All sweeps of this study"
    for note in "abcde":
        swept([0.5], State.QUEUED, a_sweep(owner=owner, note=f"note {note}"))
    assert all_of_them not in client.get("/case-studies/sparsegpt/").text
    swept([0.5], State.QUEUED, a_sweep(owner=owner, note="note f"))
    page = client.get("/case-studies/sparsegpt/").text
    assert all_of_them in page
    assert re.findall(r"<bdi>note (.)</bdi>", page) == list("fedcb")


def test_values_that_are_no_numbers_are_rows_and_what_is_not_run_draws_nothing(
    client: Client,
) -> None:
    sweep = a_sweep(parameter="bits")
    assert charts(sweep_now(sweep)) == []
    assert "No run has a result" in client.get(f"/sweeps/{sweep.pk}/").text
    swept(["4"], State.SUCCEEDED, sweep)
    [chart] = charts(sweep_now(sweep))
    assert (chart.kind, chart.x_label[:16], chart.y_label) == ("dots", "perplexity ratio", "")
    assert [trace.name for trace in chart.traces] == ["4: wanda", "4: sparsegpt"]
    gone = a_sweep("gone", "alpha")
    a_run("gone", State.CANCELLED, sweep=gone, parameters={"alpha": "<i>"})
    page = client.get(f"/sweeps/{gone.pk}/").text
    assert "no longer in the catalogue" in page
    assert "&lt;i&gt;" in page


def test_what_has_a_value_whatever_the_settings_is_one_line(client: Client) -> None:
    sweep = a_sweep("cascade", "steps")
    measured = [
        ("operations saved", "early exit", 2.0),
        ("operations saved", "early exit", 1.5, {"aim": "no loss"}),
    ]
    a_finished_run("cascade", measured, sweep=sweep)
    [chart] = charts(sweep_now(sweep))
    assert [trace.name for trace in chart.traces] == ["early exit"]


def test_runs_on_other_hardware_are_lines_of_their_own_and_the_page_warns(client: Client) -> None:
    sweep = a_sweep()
    swept([0.3, 0.5], State.SUCCEEDED, sweep)
    swept([0.7], State.SUCCEEDED, sweep, hardware="Another")
    [chart] = charts(sweep_now(sweep))
    assert len(chart.traces) == 4
    assert "wanda, Another" in [trace.name for trace in chart.traces]
    warning = "The runs differ in more than sparsity: hardware."
    assert warning in client.get(f"/sweeps/{sweep.pk}/").text


def test_what_is_measured_under_settings_only_is_drawn_and_shown_with_them(client: Client) -> None:
    sweep = a_sweep("structured-pruning", "share")
    usual = STUDIES["structured-pruning"].check("quick", {}).model_dump(mode="json")
    for share in (0.25, 0.5):
        measured = [
            ("perplexity ratio", "surgeon", 2 * share, {"part": "neurons", "share": share}),
            ("perplexity ratio", "surgeon", 3 * share, {"part": "head groups", "share": share}),
            ("perplexity ratio", "surgeon", 9.0, {"part": "neurons", "share": 0.75}),
        ]
        parameters = {**usual, "share": share}
        a_finished_run("structured-pruning", measured, sweep=sweep, parameters=parameters)
    [chart] = charts(sweep_now(sweep))
    lines = {t.name: [(mark.x, mark.y) for mark in t.marks] for t in chart.traces}
    assert lines == {
        "surgeon, neurons": [(0.25, 0.5), (0.5, 1.0)],
        "surgeon, head groups": [(0.25, 0.75), (0.5, 1.5)],
        "surgeon, neurons, share 0.75": [(0.25, 9.0), (0.5, 9.0)],
    }
    page = client.get(f"/sweeps/{sweep.pk}/").text
    shown = re.findall(r"<b>([^<]*)</b> x <span[^>]*>(neurons[^<]*)</span>", page)
    assert shown == [("0.5", "neurons, share 0.25"), ("1", "neurons, share 0.5")]


def test_one_cancels_all_of_one_s_own_sweep_and_a_keeper_any() -> None:
    owner, keeper = a_person("owner", "add_run"), a_person("keeper", "change_run")
    stranger = a_person("stranger", "add_run")
    for person in (owner, keeper):
        sweep = a_sweep(owner=owner)
        [done, *_] = swept([0.3], State.SUCCEEDED, sweep)
        [going] = swept([0.5], State.RUNNING, sweep, heartbeat=timezone.now())
        waiting = swept([0.7, 0.9], State.QUEUED, sweep)
        other = a_run(owner=owner)
        other_one = Client()
        for reason in ("Sign in first", "Only the person who started this"):
            refused = other_one.post(f"/sweeps/{sweep.pk}/cancel/")
            assert refused.status_code == 403
            assert reason in refused.text
            other_one.force_login(stranger)
            assert "Cancel all" not in other_one.get(f"/sweeps/{sweep.pk}/").text
        assert post(b"", stranger, f"{SWEEPS}{sweep.pk}/cancel/").status_code == 403
        own = Client()
        own.force_login(person)
        assert "Cancel all" in own.get(f"/sweeps/{sweep.pk}/").text
        assert own.post(f"/sweeps/{sweep.pk}/cancel/").status_code == 302
        assert ">cancelling</span>" in own.get(f"/sweeps/{sweep.pk}/").text
        for run in (done, going, *waiting, other):
            run.refresh_from_db()
        assert [run.state for run in waiting] == ["cancelled", "cancelled"]
        assert (done.state, other.state) == ("succeeded", "queued")
        assert (going.state, going.cancel_asked is None) == ("running", False)
        going.state, going.finished = State.CANCELLED, timezone.now()
        going.save()
        response = own.post(f"/sweeps/{sweep.pk}/cancel/")
        assert response.status_code == 409
        assert "all runs had ended" in response.text
        assert post(b"", person, f"{SWEEPS}{sweep.pk}/cancel/").status_code == 409


def test_a_token_cancels_what_waits() -> None:
    owner = a_person("owner")
    sweep = a_sweep(owner=owner)
    swept([0.3, 0.5], State.QUEUED, sweep)
    response = post(b"", owner, f"{SWEEPS}{sweep.pk}/cancel/")
    assert (response.status_code, response.json()["unfinished"]) == (202, 0)


def test_the_note_is_changed_by_who_looks_after_the_sweep() -> None:
    owner = a_person("owner")
    sweep = a_sweep(owner=owner)
    own = Client()
    own.force_login(owner)
    assert Client().post(f"/sweeps/{sweep.pk}/note/", {"note": "x"}).status_code == 403
    assert own.post(f"/sweeps/{sweep.pk}/note/", {"note": "x" * 2001}).status_code == 400
    assert own.post(f"/sweeps/{sweep.pk}/note/", {"note": " New "}).status_code == 302
    sweep.refresh_from_db()
    assert sweep.note == "New"


def test_the_last_run_that_is_deleted_takes_its_sweep_along(client: Client) -> None:
    person = a_person("owner", "add_run")
    client.force_login(person)
    first, last = swept([0.3, 0.5], State.FAILED, a_sweep(owner=person))
    client.post(f"/runs/{first.pk}/delete/")
    assert Sweep.objects.exists()
    client.post(f"/runs/{last.pk}/delete/")
    assert not Sweep.objects.exists()


def test_the_measurements_of_all_runs_are_exported_with_their_values(client: Client) -> None:
    sweep = a_sweep()
    swept([0.7, 0.3], State.SUCCEEDED, sweep, tags=["=cmd()"])
    content = client.get(f"/sweeps/{sweep.pk}/measurements.csv").getvalue()
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [(row["value"], row["variant"], row["measured"]) for row in rows] == [
        ("0.3", "wanda", "3.0"),
        ("0.3", "sparsegpt", "1.3"),
        ("0.7", "wanda", "3.0"),
        ("0.7", "sparsegpt", "1.7"),
    ]
    assert rows[0]["tags"] == "'=cmd()"
    assert rows[0]["export_licence"]


@pytest.mark.parametrize("address", ["/sweeps/{}/", "/sweeps/", SWEEPS, f"{SWEEPS}{{}}/", ADDRESS])
def test_the_number_of_queries_does_not_depend_on_the_runs(client: Client, address: str) -> None:
    sweep = a_sweep(owner=a_person())
    where = address.format(sweep.pk)
    swept([0.3], State.SUCCEEDED, sweep)
    client.get(where)
    before = count_queries(client, where)
    swept([0.4, 0.5, 0.6], State.SUCCEEDED, sweep)
    swept([0.7, 0.8], State.CANCELLED, sweep)
    for _ in range(3):
        swept([0.3, 0.5], State.SUCCEEDED, a_sweep(owner=sweep.owner))
    assert count_queries(client, where) == before <= 16


def test_the_database_keeps_each_value_once_and_reference_runs_out() -> None:
    sweep = a_sweep()
    swept([0.3], State.QUEUED, sweep)
    with pytest.raises(IntegrityError, match="run_value_once_per_sweep"):
        swept([0.3], State.QUEUED, sweep)


def test_a_reference_run_is_of_no_sweep() -> None:
    with pytest.raises(IntegrityError, match="run_reference_in_no_sweep"):
        a_finished_run(reference="shipped", sweep=a_sweep())


@pytest.mark.parametrize("rest", ["", "cancel/", "note/", "measurements.csv"])
@pytest.mark.parametrize("number", ["4711", "9" * 30, "9" * 5000])
def test_an_unknown_sweep_is_not_found(client: Client, number: str, rest: str) -> None:
    ask = client.post if rest in ("cancel/", "note/") else client.get
    assert ask(f"/sweeps/{number}/{rest}").status_code == 404
    assert client.get("/sweeps/?study=alchemy").status_code == 400
