"""The list of case studies, the page of each, and starting a run from its form."""

import html
import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.test import Client
from django.utils import timezone
from django.utils.text import capfirst

from casestudies.choices import Device, State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import InvalidParameter
from casestudies.lab.equations import EQUATIONS
from casestudies.models import Run
from casestudies.run_command import arguments
from casestudies.runs.starting import Request
from reviewapp.corpus.models import Review
from taxonomy.models import Strategy
from tests.casestudies.making import NOON, a_finished_run, a_person, a_run
from tests.queries import count_queries

pytestmark = pytest.mark.django_db
STUDY = STUDIES["sparsegpt"]
ADDRESS = "/case-studies/sparsegpt/"
FORM = {
    **{name: str(value) for name, value in STUDY.check("smoke", {}).model_dump().items()},
    "preset": "smoke",
    "seed": "7",
    "device": "cpu",
}


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def shown(client: Client, address: str = ADDRESS) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return text_of(response.content.decode())


def field(page: str, name: str) -> str:
    """Return the HTML of a field of the form."""
    shapes = rf'<input[^>]* name="{name}"[^>]*>|<select name="{name}".*?</select>'
    found = re.search(shapes, page, re.S)
    assert found, name
    return found[0]


def value(page: str, name: str) -> str:
    return re.findall(r'value="([^"]*)"', field(page, name))[0]


@pytest.fixture
def runner(client: Client):
    person = a_person("ada", "add_run")
    client.force_login(person)
    return person


def test_the_list_shows_each_study_with_its_result_and_its_last_runs(
    client: Client, review: Review
) -> None:
    page = shown(client, "/case-studies/")
    for study in STUDIES.values():
        assert f"{study.full_name} {study.subject}" in page
        assert study.summary in page
    assert f"{STUDY.summary} not run" in page
    a_finished_run(reference="sparsegpt-quick")
    failed = a_run(state="failed", created=NOON + timedelta(days=1))
    page = shown(client, "/case-studies/")
    assert f"{STUDY.subject} Perplexity goes from 13 to 20.4." in page
    assert "Perplexity ratio against compression time" in page
    assert "reference run, 2-core CPU ; quick preset" in page
    assert f"failed run {failed.pk} quick preset; 2 March 2026" in page
    links = client.get("/case-studies/").content.decode()
    for link in (ADDRESS, "/publications/frantar2023sparsegpt/", "/taxonomy/pruning/"):
        assert f'href="{link}' in links


def test_the_small_chart_is_that_of_the_numbers_there_are(client: Client, review: Review) -> None:
    def drawn() -> str:
        return client.get("/case-studies/").text.partition('<svg class="thumbnail"')[2]

    trade = ("perplexity ratio", "compression time")
    ways = {"magnitude": 1.0, "wanda": 2.0, "sparsegpt": 4.0}
    measured = [(metric, way, value) for metric in trade for way, value in ways.items()]
    run = a_finished_run(reference="sparsegpt-quick", measured=measured)
    before = drawn()
    assert before
    assert drawn() == before
    # As where the file of a reference run was corrected: the same run, all rows anew.
    for row in list(run.measurements.all()):
        row.delete()
        row.pk, row.value = None, 3.0 if row.variant == "wanda" else row.value
        row.save()
    assert drawn() != before


def test_the_catalogue_counts_from_data_which_strategies_run(
    client: Client, review: Review
) -> None:
    running = {slug for study in STUDIES.values() for slug in study.strategies}
    page = shown(client, "/case-studies/")
    assert f"{len(running)} of {Strategy.objects.count()} strategies run" in page
    for strategy in Strategy.objects.exclude(slug__in=running):
        assert f"{strategy.name} no study yet" in page
    assert "Quantization QMoE" in page


@pytest.mark.parametrize(
    ("query", "among", "not_among"),
    [
        ("q=pruning", {"sparsegpt"}, {"qmoe", "kv-cache"}),
        ("q=mixture+expert", {"qmoe"}, {"sparsegpt", "kv-cache"}),
        ("q=gqa", {"attention-approximation", "kv-cache"}, {"sparsegpt", "qmoe"}),
        ("class=serving&q=cache", {"kv-cache", "offloading"}, {"sparsegpt", "lora"}),
        ("class=training&q=key-value+cache", set(), STUDIES.keys()),
        ("q=no+such+method", set(), STUDIES.keys()),
    ],
)
def test_the_catalogue_is_searched_and_filtered(
    client: Client, review: Review, query: str, among: set[str], not_among: set[str]
) -> None:
    page = client.get(f"/case-studies/?{query}").content.decode()
    cards = set(re.findall(r'<article.*?href="/case-studies/([a-z-]+)/"', page, re.S))
    assert among <= cards
    assert not cards & set(not_among)
    assert ("No study or strategy matches" in page) == (not cards)


def test_a_class_that_is_not_known_is_refused(client: Client, review: Review) -> None:
    refused = client.get("/case-studies/?class=cooking")
    assert refused.status_code == 400
    assert "There is no class “cooking”" in html.unescape(refused.content.decode())


def test_the_result_is_shown_with_its_variants_as_columns(client: Client, review: Review) -> None:
    a_finished_run()
    page = client.get(ADDRESS).content.decode()
    table = re.search(r'<table class="data pivot">.*?</table>', page, re.S)
    assert table
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in table[0].split("<tr>")]
    cells = [[text_of(cell) for cell in row] for row in rows if row]
    assert cells[0] == ["Metric", "Setting", "dense", "wanda", "sparsegpt"]
    assert ["sparsity (fraction)", "", "—", "—", "0.5"] in cells


def test_the_list_and_a_study_are_there_before_a_review_is_loaded(client: Client) -> None:
    assert STUDY.subject in shown(client, "/case-studies/")
    assert "not reported" in shown(client)
    assert client.get("/case-studies/nope/").status_code == 404


def test_a_study_says_what_it_measures_and_how(client: Client, review: Review) -> None:
    page = shown(client)
    for metric in STUDY.metrics:
        assert metric.name in page
        assert metric.direction in page
    for variant in STUDY.variants:
        assert capfirst(variant.meaning) in page
    assert STUDY.limits in page
    assert "Publication: SparseGPT (2023)" in page
    assert "has not been run on this site" in page


def test_claims_stand_beside_measurements_with_their_status(client: Client, review: Review) -> None:
    page = shown(client)
    assert "less than 4.5 h" in page
    assert page.count("not run no run yet") == len(STUDY.answers)
    run = a_finished_run(
        preset="claims",
        parameters=STUDY.check("claims", {}).model_dump(mode="json"),
        measured=[
            ("perplexity ratio", "magnitude", 26.0),
            ("perplexity ratio", "wanda", 2.0),
            ("perplexity ratio", "sparsegpt", 1.5),
            ("sparsity", "sparsegpt", 0.6),
        ],
    )
    page = shown(client)
    assert "direction agrees Measured perplexity ratio, SparseGPT 1.5 x" in page
    assert "not run needs a GPU" in page
    assert f"104.4 billion weights run {run.pk} ; claims preset; Example Processor" in page
    assert "Never 'supported' here (175B, and small models lose more)" in page
    assert "Written 26 November 2026, when the outcome was known." in page


def test_a_smoke_run_says_that_it_finds_nothing_wherever_it_stands(
    client: Client, review: Review
) -> None:
    words = "shows that the study works, not what it finds"
    run = a_finished_run(preset="smoke")
    pages = {
        ADDRESS: False,
        "/case-studies/": False,
        "/taxonomy/pruning/": False,
        "/compare/?strategies=pruning,quantization": False,
        "/dashboards/?study=sparsegpt": False,
        run.get_absolute_url(): True,
    }
    assert [words in shown(client, page) for page in pages] == [True] * 6
    Run.objects.update(finished=NOON + timedelta(days=1))
    a_finished_run()
    assert {page: words in shown(client, page) for page in pages} == pages


def test_a_result_says_that_the_machine_was_busy(client: Client, review: Review) -> None:
    words = "The machine was busy when the run began (load 1.6 on 2 cores)"
    run = a_finished_run()
    assert words not in shown(client)
    run.environment |= {"load": 1.6, "cores": 2}
    run.save()
    assert words in shown(client)
    assert words in shown(client, "/taxonomy/pruning/")


def test_a_preset_fills_the_form_and_the_address_may_change_it(client: Client, db: None) -> None:
    page = client.get(ADDRESS).content.decode()
    assert value(page, "preset") == "quick"
    assert value(page, "calibration_windows") == "8"
    assert " checked" in field(page, "curve")
    page = client.get(
        f"{ADDRESS}?preset=smoke&sparsity=0.6&pattern=2:4&nonsense=1"
    ).content.decode()
    assert (value(page, "preset"), value(page, "sparsity")) == ("smoke", "0.6")
    assert value(page, "layers") == "1"
    assert 'value="2:4" selected' in field(page, "pattern")
    assert " checked" not in field(page, "curve")
    assert client.get(f"{ADDRESS}?preset=nope").status_code == 400
    for truth, is_set in (("True", True), ("False", False)):
        page = client.get(f"{ADDRESS}?curve={truth}").content.decode()
        assert (" checked" in field(page, "curve")) is is_set


def test_the_form_tells_bounds_units_and_help(client: Client, db: None) -> None:
    page = client.get(ADDRESS).content.decode()
    assert re.search(r'min="0.05" max="0.95" step="any"', field(page, "sparsity"))
    assert re.search(r'min="16" max="1024" step="16"', field(page, "block"))
    assert 'step="1"' in field(page, "calibration_windows")
    words = text_of(page)
    assert "Columns that share one choice of what to prune (16 to 1024, a multiple of 16)" in words
    assert "Smoke about 12 s" in words
    assert "Quick about 3 min" in words


def test_every_equation_is_shown_with_its_symbols_and_its_source(
    client: Client, review: Review
) -> None:
    page = shown(client, "/equations/")
    for equation in EQUATIONS:
        assert " ".join(equation.formula.split()) in page
        assert all(source.place in page for source in equation.sources)
    memory = sum(source.from_memory for equation in EQUATIONS for source in equation.sources)
    html_of_page = client.get("/equations/").content.decode()
    assert html_of_page.count('class="badge">from memory') == memory
    assert "GPipe , section 2.3" in page


def test_settings_that_the_study_no_longer_has_keep_measurements_apart(
    client: Client, review: Review
) -> None:
    old = [
        ("sparsity", "sparsegpt", 0.5, {"rows": 4}),
        ("sparsity", "sparsegpt", 0.25, {"rows": 8}),
    ]
    a_finished_run(measured=old)
    page = shown(client)
    assert "sparsity (fraction) rows 4 0.5" in page
    assert "sparsity (fraction) rows 8 0.25" in page


def test_a_study_offers_only_the_devices_that_it_runs_on(client: Client, runner) -> None:
    page = client.get("/case-studies/zero/").content.decode()
    assert re.findall(r'<option value="(\w+)"', field(page, "device")) == ["cpu"]
    zero = STUDIES["zero"]
    form = {name: str(value) for name, value in zero.check("smoke", {}).model_dump().items()}
    refused = client.post(
        "/case-studies/zero/", {**form, "preset": "smoke", "seed": "0", "device": "cuda"}
    )
    assert refused.status_code == 400
    assert not Run.objects.exists()
    with pytest.raises(InvalidParameter, match="cuda is not valid; this study runs on cpu"):
        Request.checked(zero, "smoke", {}, 0, Device.CUDA)


@pytest.fixture
def offered_model(tmp_path: Path, monkeypatch) -> str:
    """The name of a model that is offered, beside one of which nothing is said."""
    (tmp_path / "tiny.gguf").touch()
    (tmp_path / "tiny.yaml").write_text("name: tiny-llama\nlicence: MIT\nsource: here\n")
    (tmp_path / "secret.gguf").touch()
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    return "tiny-llama"


def test_a_run_may_be_asked_for_on_a_model_that_is_offered(
    client: Client, runner, offered_model: str
) -> None:
    page = client.get(ADDRESS).content.decode()
    assert re.findall(r'<option value="([^"]*)"', field(page, "model")) == ["", offered_model]
    assert 'name="model"' not in client.get("/case-studies/zero/").content.decode()
    client.post(ADDRESS, {**FORM, "model": offered_model})
    run = Run.objects.get()
    assert run.model == offered_model
    assert f"--model {offered_model}" in shlex.join(arguments(run))
    done = a_finished_run(model=offered_model)
    page = client.get(done.get_absolute_url()).content.decode()
    assert f"<dt>Model</dt><dd>{offered_model}</dd>" in page
    assert f"model={offered_model}" in page


@pytest.mark.parametrize("model", ["secret", "/etc/passwd", "../tiny-llama", "tiny.gguf", "\0"])
def test_no_other_name_and_no_path_is_taken_for_a_model(
    client: Client, runner, offered_model: str, model: str
) -> None:
    assert client.post(ADDRESS, {**FORM, "model": model}).status_code == 400
    with pytest.raises(InvalidParameter, match="no model of that name"):
        Request.checked(STUDY, "smoke", {}, 0, Device.CPU).on(model)
    with pytest.raises(InvalidParameter, match="no model of that name"):
        Request.checked(STUDIES["zero"], "smoke", {}, 0, Device.CPU).on(offered_model)
    assert not Run.objects.exists()


def test_a_run_on_another_model_does_not_stand_for_the_study(client: Client, db: None) -> None:
    a_finished_run(verdict="On the bundled model.")
    a_finished_run(verdict="On another model.", model="tiny-llama", finished=timezone.now())
    page = shown(client)
    assert "On the bundled model." in page


def test_what_cannot_be_offered_is_a_warning(offered_model: str) -> None:
    said = [warning.msg for warning in run_checks() if warning.id == "casestudies.W001"]
    assert len(said) == 1
    assert "secret.yaml" in said[0]


def test_only_those_who_may_can_start_a_run(client: Client, review: Review) -> None:
    page = client.get(ADDRESS).content.decode()
    assert "Sign in to run" in page
    assert "Start the run" not in page
    client.force_login(a_person("grace"))
    assert "Your account may not start runs" in shown(client)
    refused = client.post(ADDRESS, FORM)
    assert refused.status_code == 403
    assert "Your account may not start runs" in refused.content.decode()
    assert not Run.objects.exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_signing_in_to_run_leads_back_to_the_form_with_its_edits(
    client: Client, review: Review, method: str
) -> None:
    ada = a_person("ada", "add_run")
    ada.set_password("a long password")
    ada.save()
    edits = {**FORM, "sparsity": "0.35", "pattern": "2:4", "layers": "x" * 500, "sign-in": "first"}
    del edits["curve"]
    to_sign_in = getattr(client, method)(ADDRESS, edits)
    page = client.get(to_sign_in["Location"]).content.decode()
    back = client.post(
        to_sign_in["Location"],
        {
            "username": "ada",
            "password": "a long password",
            "next": html.unescape(value(page, "next")),
        },
    )
    assert back["Location"].startswith(f"{ADDRESS}?")
    assert back["Location"].endswith("#start")
    page = client.get(back["Location"]).content.decode()
    kept = {name: value(page, name) for name in ("preset", "seed", "sparsity", "layers")}
    assert kept == {"preset": "smoke", "seed": "7", "sparsity": "0.35", "layers": "x" * 100}
    assert 'value="2:4" selected' in field(page, "pattern")
    assert " checked" not in field(page, "curve")
    assert not Run.objects.exists()


def test_a_valid_form_starts_the_run_and_leads_to_it(client: Client, runner) -> None:
    assert "Start the run" in client.get(ADDRESS).content.decode()
    # An unticked box is not sent at all.
    given = {**FORM, "sparsity": "0.7"}
    del given["curve"]
    response = client.post(ADDRESS, given)
    run = Run.objects.get()
    assert response["Location"] == run.get_absolute_url()
    assert (run.owner, run.state, run.seed, run.preset) == (runner, "queued", 7, "smoke")
    assert run.parameters["sparsity"] == 0.7
    assert run.parameters["curve"] is False
    assert run.parameters["layers"] == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sparsity": "1.5"}, "'1.5' is not valid; number, 0.05 to 0.95"),
        ({"sparsity": "nan"}, "'nan' is not valid"),
        ({"pattern": "<b>"}, "'<b>' is not valid; one of unstructured, 2:4, 4:8"),
        ({"block": "24"}, "a multiple of 16, columns"),
        ({"block": ""}, "This field is required."),
        ({"block": "\0"}, "Null characters are not allowed."),
        ({"window": "9" * 5000}, "at most 100 characters"),
        ({"seed": "-1"}, "greater than or equal to 0"),
        ({"device": "abacus"}, "not one of the available choices"),
        ({"preset": "nope"}, "preset: 'nope' is none of smoke, quick, claims, full"),
    ],
)
def test_what_is_not_valid_is_said_at_its_field(
    client: Client, runner, changed: dict[str, str], message: str
) -> None:
    response = client.post(ADDRESS, {**FORM, **changed})
    assert response.status_code == 400
    page = response.content.decode()
    assert message in text_of(page)
    assert "The run was not started." in page
    assert "<b>'" not in page
    if not {"seed", "device", "preset"} & set(changed):
        (name,) = changed
        assert 'aria-invalid="true"' in field(page, name)
        assert f"id_{name}_error" in field(page, name)
    assert not Run.objects.exists()


def test_too_many_waiting_runs_are_refused_with_the_form_kept(
    client: Client, runner, settings
) -> None:
    settings.RUNS_QUEUED_PER_USER = 1
    a_run(owner=runner)
    response = client.post(ADDRESS, {**FORM, "sparsity": "0.7"})
    assert response.status_code == 429
    page = response.content.decode()
    assert "You have 1 runs waiting" in text_of(page)
    assert value(page, "sparsity") == "0.7"
    assert Run.objects.count() == 1


def test_the_history_tells_of_every_run_and_can_be_filtered(client: Client, db: None) -> None:
    person = a_person()
    done = a_finished_run(owner=person)
    gone = a_run(state="cancelled")
    a_finished_run(reference="sparsegpt-quick")
    page = shown(client)
    assert "All 3" in page
    assert "Succeeded 2" in page
    assert f"run {done.pk} succeeded quick preset perplexity ratio, sparsegpt 1.554 x" in page
    assert "ada 2026-03-01 12:00 1 min 25 s" in page
    assert "this project" in page
    assert "account removed" in page
    some = client.get(f"{ADDRESS}?state=cancelled").content.decode()
    assert gone.get_absolute_url() in some
    assert f'<th scope="row"><a href="{done.get_absolute_url()}"' not in some
    assert "No run is in this state now" in shown(client, f"{ADDRESS}?state=lost")
    assert client.get(f"{ADDRESS}?state=confused").status_code == 400


def test_a_run_that_goes_on_is_listed_without_how_long_it_took(client: Client, db: None) -> None:
    run = a_run(state="running", owner=a_person(), heartbeat=timezone.now())
    listed = f"run {run.pk} running quick preset none yet not known ada 2026-03-01 12:00 —"
    assert listed in shown(client)


@pytest.mark.parametrize("address", ["/case-studies/", ADDRESS])
def test_the_number_of_queries_does_not_depend_on_the_runs(
    client: Client, review: Review, address: str
) -> None:
    person = a_person()
    a_finished_run(owner=person)
    a_finished_run(reference="first")
    client.get(address)  # its chart is drawn once
    before = count_queries(client, address)
    for number, state in enumerate(State.values):
        a_finished_run(owner=person)
        a_run(state=state, owner=a_person(f"p{number}"))
        a_finished_run(reference=f"r{number}")
    client.get(address)  # whoever is first marks the run whose worker is silent, too
    assert count_queries(client, address) == before <= 16


@pytest.mark.parametrize("query", ["page=abc", "page=-1", "page=9999", "seed=x", "preset=%00"])
def test_odd_addresses_are_answered(client: Client, db: None, query: str) -> None:
    a_run()
    assert client.get(f"{ADDRESS}?{query}").status_code in (200, 400)
