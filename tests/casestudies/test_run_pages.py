"""The page of a run: how it stands, what may be done with it, and what can be taken away."""

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from casestudies.choices import Device, State
from casestudies.models import Run, RunEvent
from casestudies.studies.reference_runs import FOLDER, load
from tests.casestudies.making import ENVIRONMENT, NOON, a_finished_run, a_person, a_run
from tests.queries import count_queries

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script>\n\nevent: end\n<img src=x onerror=alert(2)>"


def say(run: Run, kind: str, **data: Any) -> RunEvent:
    """Add an event to the run, as its worker would."""
    return RunEvent.objects.create(run=run, at=timezone.now(), kind=kind, data=data)


def going_on(**values: Any) -> Run:
    """Return a run whose worker has just given a sign of life."""
    now = timezone.now()
    return a_run(state=State.RUNNING, started=now, heartbeat=now, **values)


def page_of(run: Run, client: Client) -> str:
    response = client.get(run.get_absolute_url())
    assert response.status_code == 200
    return str(response.content.decode())


def after_signing_in(*permissions: str) -> tuple[Client, User]:
    person = a_person("eve", *permissions)
    client = Client()
    client.force_login(person)
    return client, person


@pytest.mark.parametrize("state", State.values)
def test_the_page_of_a_run_in_any_state_names_it(client: Client, state: str) -> None:
    run = a_run(state=state, heartbeat=timezone.now())
    page = page_of(run, client)
    assert f">{state}</span>" in page
    assert f"<h1>Run {run.pk}</h1>" in page
    assert ('http-equiv="refresh"' in page) is (not run.over)


def test_a_run_that_waits_has_a_place_and_says_when_no_worker_is_there(client: Client) -> None:
    first, second = a_run(), a_run(created=NOON + timedelta(seconds=1))
    third = a_run(created=second.created)
    a_run(device=Device.CUDA)
    a_run(state=State.RUNNING, heartbeat=timezone.now())
    assert "Next in the queue" in page_of(first, client)
    assert "2 runs wait for the same kind of device before it" in page_of(third, client)
    page = page_of(second, client)
    assert "1 run waits for the same kind of device before it" in page
    assert "manage.py worker --queues cpu" in page


def test_a_run_that_goes_on_shows_how_far_it_is(client: Client) -> None:
    run = going_on(done=0.415, stage="wanda", step="block 3 of 30")
    for stage, step in (("dense", ""), ("wanda", "block 1 of 30"), ("wanda", "block 2 of 30")):
        say(run, "progress", done=0.1, stage=stage, step=step)
    say(run, "measurement", metric="perplexity", variant="dense", value=13.1278, unit="", n=1)
    say(run, "point", series="perplexity by sparsity", variant="wanda", x=0.5, y=25.23)
    page = page_of(run, client)
    assert "41 %" in page
    assert "Last sign of life of its worker 0." in page
    assert page.count("<span>wanda</span>") == 1
    assert "Measured so far" not in page  # an event without a spread is not in the lab's form
    say(
        run, "measurement", metric="perplexity", variant="w", value=25.234, unit="", n=1,
        spread=None,
    )  # fmt: skip
    page = page_of(run, client)
    assert "Measured so far" in page
    assert "25.23" in page
    assert "Perplexity by sparsity" in page


def test_the_step_that_a_run_is_in_is_marked_until_the_run_ends(client: Client) -> None:
    def steps(run: Run) -> list[tuple[str, ...]]:
        form = r'<li( aria-current="step")?><span>(.*?)</span> <span class="quiet">(.*?)</span>'
        return re.findall(form, page_of(run, client))

    on, ended = going_on(), a_run(state=State.FAILED)
    for run in (on, ended):
        for name, after in (("dense", 10), ("wanda", 30), ("wanda", 40)):
            step = say(run, "progress", done=0.1, stage=name, step="")
            step.at = NOON + timedelta(seconds=after)
            step.save()
    assert steps(on) == [("", "dense", "20 s"), (' aria-current="step"', "wanda", "now")]
    assert steps(ended) == [("", "dense", "20 s"), ("", "wanda", "1 min 0 s")]


def test_a_run_whose_worker_fell_silent_is_lost_even_with_no_worker_left(client: Client) -> None:
    run = going_on()
    Run.objects.update(heartbeat=timezone.now() - timedelta(seconds=30))
    assert ">lost</span>" in page_of(run, client)
    run.refresh_from_db()
    assert run.state == State.LOST


def test_a_failed_run_shows_why_and_what_it_measured_before(client: Client) -> None:
    run = a_run(state=State.FAILED, error="RuntimeError: out of luck\nexit status 1", done=0.3)
    say(run, "log", text="Calibrating")
    say(
        run, "measurement", metric="sparsity", variant="wanda", value=0.5, unit="", n=3,
        spread=0.01,
    )  # fmt: skip
    page = page_of(run, client)
    assert "RuntimeError: out of luck\nexit status 1" in page
    assert "Measured before the run ended" in page
    assert "at 30 %" in page
    assert "Calibrating" in page


def test_a_result_says_what_was_set_where_it_ran_and_how_to_repeat_it(client: Client) -> None:
    run = a_finished_run(
        series=[
            {
                "name": "perplexity by sparsity",
                "variant": "wanda",
                "settings": {},
                "points": [[0.5, 25.2]],
            }
        ]
    )
    run.parameters["sparsity"] = 0.6
    run.save()
    page = page_of(run, client)
    assert run.verdict in page
    assert "<b>0.6</b>" in page
    assert "preset: 0.5" in page
    assert "--preset quick --device cpu --seed 0 --threads 2 --sparsity 0.6" in page
    assert "Example Processor, 2 cores, 2 threads, 1 March 2026" in page
    assert "Example-135M" in page
    assert "<td>wanda</td><td>0.5</td><td>25.2</td>" in page
    assert "<b>1.554</b>" in page


def test_energy_and_clocks_are_shown_where_the_machine_tells_them(client: Client) -> None:
    gpu = {"name": "Example GPU", "memory_bytes": 2**34, "clock_mhz": 1980.0}
    energy = {"gpu_joules": 12_345.4}
    for tf32, shown in ((False, "no"), (True, "yes")):
        environment = {**ENVIRONMENT, "gpu": gpu, "energy": energy, "tf32": tf32}
        run = a_finished_run(environment=environment, seed=int(tf32))
        page = page_of(run, client)
        assert f"<dt>TF32 in place of float32</dt><dd>{shown}</dd>" in page
    assert "<dt>Energy</dt><dd>whole GPU (NVML) 12,345 J</dd>" in page
    assert "clock 1,980 MHz" in page
    assert "memory 16.0 GiB" in page
    assert "<dt>Energy</dt>" not in page_of(a_finished_run(), client)


def test_of_what_is_not_known_of_a_machine_only_a_gpu_that_it_lacks_is_left_out(
    client: Client,
) -> None:
    run = a_finished_run(environment={**ENVIRONMENT, "gpu": None, "system": None})
    page = page_of(run, client)
    assert '<dt>System</dt><dd><span class="missing">not reported</span></dd>' in page
    assert "<dt>GPU</dt>" not in page
    named = {**ENVIRONMENT, "gpu": {"name": "Example GPU", "memory_bytes": 2**34}}
    assert "<dt>GPU</dt>" in page_of(a_finished_run(environment=named), client)


def test_the_instructions_of_the_processor_are_shown_where_the_run_tells_them(
    client: Client,
) -> None:
    run = a_finished_run(environment={**ENVIRONMENT, "instructions": ["avx2", "avx512f"]})
    assert "<dt>Instructions</dt><dd>avx2, avx512f</dd>" in page_of(run, client)


def test_a_run_of_a_study_that_left_the_catalogue_is_still_readable(client: Client) -> None:
    run = a_run("gone", State.SUCCEEDED, parameters={"alpha": 1})
    page = page_of(run, client)
    assert "has left the catalogue" in page
    assert "Alpha" in page


def test_a_reference_run_says_what_it_is(client: Client) -> None:
    load()
    page = page_of(Run.objects.get(reference="sparsegpt-quick-2-core-cpu"), client)
    assert "<h1>Reference run, 2-core CPU</h1>" in page
    assert "this project, as a reference" in page


def test_the_raw_result_is_the_document_that_the_lab_wrote(client: Client) -> None:
    load()
    shipped = json.loads((FOLDER / "sparsegpt-quick-2-core-cpu.json").read_text("utf-8"))
    run = Run.objects.get(reference="sparsegpt-quick-2-core-cpu")
    assert client.get(f"/runs/{run.pk}/result.json").json() == shipped["result"]


@pytest.mark.parametrize(("state", "status"), [(State.QUEUED, 409), (State.FAILED, 404)])
def test_without_a_result_the_raw_result_says_why(client: Client, state: str, status: int) -> None:
    response = client.get(f"/runs/{a_run(state=state).pk}/result.json")
    assert response.status_code == status
    assert state in response.content.decode()


def test_the_measurements_are_exported_with_their_origin(client: Client) -> None:
    run = a_finished_run(measured=[("perplexity", "=cmd()", 20.41234567), ("sparsity", "w", 0.5)])
    response = client.get(f"/runs/{run.pk}/measurements.csv")
    content = response.getvalue()
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [(row["metric"], row["value"]) for row in rows] == [
        ("perplexity", "20.41234567"),
        ("sparsity", "0.5"),
    ]
    assert rows[0]["run"] == run.label
    assert rows[0]["hardware"] == run.hardware
    assert rows[0]["variant"] == "'=cmd()"
    assert rows[0]["export_licence"]
    frame = pd.read_csv(io.BytesIO(content))
    assert frame.columns[0] == "run_id"
    for row in frame.to_dict("records"):
        assert (row["run_id"], row["seed"]) == (run.pk, run.seed)
        assert row["commit"] == run.environment["commit"]
        assert {name: row[f"parameters_{name}"] for name in run.parameters} == run.parameters


def test_the_curves_are_exported(client: Client) -> None:
    run = a_finished_run(
        series=[
            {
                "name": "perplexity by sparsity",
                "variant": "wanda",
                "settings": {},
                "points": [[0.5, 25.2]],
            }
        ]
    )
    response = client.get(f"/runs/{run.pk}/curves.csv")
    [row] = pd.read_csv(io.BytesIO(response.getvalue())).to_dict("records")
    assert (row["series"], row["variant"]) == ("perplexity by sparsity", "wanda")
    assert (row["x"], row["y"]) == (0.5, 25.2)
    assert (row["run_id"], row["seed"], row["commit"]) == (run.pk, 0, run.environment["commit"])


def test_hostile_words_are_shown_not_obeyed(client: Client) -> None:
    run = a_run(
        state=State.FAILED,
        error=HOSTILE,
        stage=HOSTILE,
        step=HOSTILE,
        hardware=HOSTILE,
        worker=HOSTILE,
    )
    say(run, "progress", done=0.1, stage=HOSTILE, step=HOSTILE)
    say(run, "log", text=HOSTILE)
    say(run, "notice", text=HOSTILE)
    say(run, "error output", nonsense=1)
    say(run, "measurement", metric=HOSTILE, variant=HOSTILE, value=1, unit="<b>", n=1, spread=None)
    say(run, "measurement", metric=1)
    say(run, "point", series="perplexity by sparsity", variant=HOSTILE, x=0.5, y=1.0)
    say(run, "point", series="nope")
    page = page_of(run, client)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    log = client.get(f"/runs/{run.pk}/log.txt")
    assert log["Content-Type"].startswith("text/plain")
    assert HOSTILE in log.getvalue().decode()


def test_the_log_has_the_words_of_all_that_was_said_but_numbers(client: Client) -> None:
    run = going_on()
    say(run, "started", environment={"processor": "Größe"})
    say(run, "progress", done=0.1, stage="wanda", step="")
    say(run, "measurement", metric="sparsity", variant="w", value=1, unit="", n=1, spread=None)
    say(run, "point", series="perplexity by sparsity", variant="w", x=0.5, y=1.0)
    say(run, "log", text="Calibrating")
    log = client.get(f"/runs/{run.pk}/log.txt").getvalue().decode()
    lines = re.findall(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (.*)\n", log, re.MULTILINE)
    assert lines == [
        'started: {"environment": {"processor": "Größe"}}',
        "progress: 0.1 wanda",
        "log: Calibrating",
    ]
    assert log.count("\n") == 3


def test_the_number_of_queries_does_not_depend_on_what_the_run_said(client: Client) -> None:
    run = a_run(state=State.FAILED)

    def talk(times: int) -> None:
        for n in range(times):
            say(run, "progress", done=0.1, step=f"part {n}: block 1")
            say(run, "log", text="line")
            say(run, "point", series="perplexity by sparsity", variant=f"v{n}", x=0.5, y=1.0)

    talk(3)
    few = count_queries(client, run.get_absolute_url())
    talk(30)
    assert count_queries(client, run.get_absolute_url()) == few
    assert few <= 8


@pytest.mark.parametrize(
    "rest",
    ["", "stream", "news.json", "result.json", "log.txt", "measurements.csv", "curves.csv"],
)
@pytest.mark.parametrize("number", ["4711", "9" * 30, "9" * 5000])
def test_an_unknown_run_is_not_found(client: Client, number: str, rest: str) -> None:
    assert client.get(f"/runs/{number}/{rest}").status_code == 404


def test_what_only_shows_a_run_takes_no_form(client: Client) -> None:
    run = a_finished_run()
    for part in ("", "news.json", "result.json", "log.txt", "measurements.csv", "curves.csv"):
        assert client.get(f"/runs/{run.pk}/{part}").status_code == 200, part
        assert client.post(f"/runs/{run.pk}/{part}").status_code == 405, part


@pytest.mark.parametrize("action", ["cancel", "again", "delete"])
def test_who_may_not_is_told_why(client: Client, action: str) -> None:
    run = a_run(state=State.QUEUED if action == "cancel" else State.FAILED, owner=a_person())
    response = client.post(f"/runs/{run.pk}/{action}/")
    assert response.status_code == 403
    assert "Sign in first" in response.content.decode()
    stranger, _ = after_signing_in(*([] if action == "again" else ["add_run"]))
    response = stranger.post(f"/runs/{run.pk}/{action}/")
    assert response.status_code == 403
    reason = "may not start runs" if action == "again" else "Only the person who started this run"
    assert reason in response.content.decode()
    page = page_of(run, stranger)
    assert f"/{action}/" not in page
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("before", "after"), [(State.QUEUED, "cancelled"), (State.RUNNING, "cancelling")]
)
def test_one_cancels_ones_own_run_and_a_keeper_any(before: State, after: str) -> None:
    keeper, _ = after_signing_in("change_run")
    owner = a_person()
    own = Client()
    own.force_login(owner)
    for client in (own, keeper):
        run = a_run(state=before, owner=owner, heartbeat=timezone.now())
        assert "Cancel</button>" in page_of(run, client)
        assert client.post(f"/runs/{run.pk}/cancel/").headers["Location"] == f"/runs/{run.pk}/"
        assert f">{after}</span>" in page_of(run, client)
        run.refresh_from_db()
        assert run.cancel_asked
        # Asking again neither fails nor changes when it was asked for.
        client.post(f"/runs/{run.pk}/cancel/")
        assert Run.objects.get(pk=run.pk).cancel_asked == run.cancel_asked


def test_cancelling_what_has_ended_changes_nothing_and_says_so() -> None:
    client, person = after_signing_in("add_run")
    run = a_finished_run(owner=person)
    response = client.post(f"/runs/{run.pk}/cancel/")
    assert response.status_code == 409
    assert "already ended" in response.content.decode()
    run.refresh_from_db()
    assert run.state == State.SUCCEEDED


def test_running_again_asks_for_the_same() -> None:
    client, person = after_signing_in("add_run")
    parameters = a_run().parameters | {"sparsity": 0.6}
    old = a_run(state=State.FAILED, preset="quick", parameters=parameters, seed=7)
    response = client.post(f"/runs/{old.pk}/again/")
    new = Run.objects.latest("id")
    assert response.headers["Location"] == f"/runs/{new.pk}/"
    assert (new.owner, new.state) == (person, State.QUEUED)
    same = ("study", "preset", "parameters", "seed", "device")
    assert [getattr(new, field) for field in same] == [getattr(old, field) for field in same]


def test_what_cannot_be_run_again_says_why(settings: Any) -> None:
    client, person = after_signing_in("add_run")
    changed = a_run(state=State.FAILED, parameters={"sparsity": 7})
    response = client.post(f"/runs/{changed.pk}/again/")
    assert response.status_code == 400
    assert "sparsity" in response.content.decode()
    gone = a_run("gone", State.FAILED)
    assert client.post(f"/runs/{gone.pk}/again/").status_code == 409
    settings.RUNS_QUEUED_PER_USER = 1
    waiting = a_run(owner=person)
    response = client.post(f"/runs/{waiting.pk}/again/")
    assert response.status_code == 429
    assert "You have 1 runs waiting" in response.content.decode()


def test_deleting_asks_first_and_takes_all_of_the_run() -> None:
    client, person = after_signing_in("add_run")
    run = a_finished_run(owner=person)
    say(run, "log", text="hello")
    assert "cannot be undone" in client.get(f"/runs/{run.pk}/delete/").content.decode()
    assert Run.objects.filter(pk=run.pk).exists()
    response = client.post(f"/runs/{run.pk}/delete/")
    assert response.headers["Location"] == "/case-studies/sparsegpt/"
    assert not Run.objects.filter(pk=run.pk).exists()


def test_who_may_no_longer_start_runs_deletes_none_of_their_own() -> None:
    client, person = after_signing_in()
    run = a_finished_run(owner=person)
    assert client.post(f"/runs/{run.pk}/delete/").status_code == 403
    assert "Delete…" not in page_of(run, client)
    assert Run.objects.filter(pk=run.pk).exists()


def test_neither_a_run_that_goes_on_nor_a_reference_run_can_be_deleted() -> None:
    client, person = after_signing_in("add_run", "delete_run")
    assert client.post(f"/runs/{going_on(owner=person).pk}/delete/").status_code == 409
    load()
    reference = Run.objects.exclude(reference=None).first()
    assert reference is not None
    assert client.post(f"/runs/{reference.pk}/delete/").status_code == 403
    assert "Delete…" not in page_of(reference, client)


def test_nothing_changes_by_following_a_link_or_without_the_sites_own_form() -> None:
    _, person = after_signing_in("add_run")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(person)
    run = a_run(owner=person)
    for action in ("cancel", "again"):
        assert strict.get(f"/runs/{run.pk}/{action}/").status_code == 405
        assert strict.post(f"/runs/{run.pk}/{action}/").status_code == 403
    assert Run.objects.get().state == State.QUEUED
