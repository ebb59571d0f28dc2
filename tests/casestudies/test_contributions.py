"""Runs that others made: how they come in, that they decide nothing unless accepted, and go."""

import copy
import html
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casestudies.contributions import keeping
from casestudies.contributions.reading import MOST_BYTES, MOST_RECORDS, InvalidFile, read
from casestudies.models import Contribution, Measurement, Run
from casestudies.studies import reference_runs, results
from reviewapp.corpus.models import Review
from taxonomy.claims.outcomes import standings
from taxonomy.models import Claim, Outcome
from tests.casestudies.making import a_finished_run, a_person
from tests.queries import count_queries

pytestmark = pytest.mark.django_db

SHIPPED = reference_runs.FOLDER / "sparsegpt-claims-2-core-cpu.json"
CLAIM = "frantar2023sparsegpt-0"


def a_record(shipped: Path = SHIPPED, /, **changes: Any) -> dict[str, Any]:
    """Return a record as one comes from a machine with another GPU; keys are paths with dots."""
    record = json.loads(shipped.read_text("utf-8"))
    gpu = {"name": "Example GPU", "memory_bytes": 2**34, "cuda": "13.0", "driver": "580"}
    values = {"result.environment.device": "cuda", "result.environment.gpu": gpu, **changes}
    for path, value in values.items():
        *places, last = path.split(".")
        found = record
        for place in places:
            found = found[int(place) if isinstance(found, list) else place]
        found[last] = value
    return record


def contributed(*records: Any, person: User | None = None) -> Contribution:
    """Return the stored contribution of these records, or of one."""
    runs = read("results.json", json.dumps(records or [a_record()]).encode())
    [brought] = keeping.bring_in([("results.json", runs)], "Grace", "On her own machine", person)
    assert brought.contribution
    return brought.contribution


@pytest.fixture
def file(tmp_path: Path) -> Callable[[Any], Path]:
    def written(document: Any) -> Path:
        path = tmp_path / "results.json"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        return path

    return written


def imported(*files: Path, **options: Any) -> str:
    said = StringIO()
    call_command("import_runs", *map(str, files), stdout=said, **{"by": "Grace", **options})
    return said.getvalue()


def words(client: Client, address: str) -> str:
    page = client.get(address)
    assert page.status_code == 200, address
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.content.decode())).split())


def test_a_file_of_several_records_comes_in_whole_and_once(file) -> None:
    second = a_record(**{"result.seed": 1, "started": "2026-11-01T13:00:00+02:00"})
    path = file([a_record(), second])
    assert "results.json: 2 imported, see /contributions/" in imported(path)
    contribution = Contribution.objects.get()
    assert (contribution.contributor, contribution.importer) == ("Grace", None)
    for run, record in zip(contribution.runs.order_by("pk"), [a_record(), second], strict=True):
        assert run.result.model_dump(mode="json") == record["result"]
        assert (run.origin, run.hardware, run.owner) == ("contributed", "Example GPU", None)
        assert (run.done, run.state) == (1, "succeeded")

    assert imported(path).count("is here already: contributed run") == 2
    third = a_record(**{"result.seed": 2})
    assert "record 1 is here already" in imported(file([a_record(), third, third]))
    assert Run.objects.count() == 3
    assert Contribution.objects.count() == 2


def test_what_ships_with_the_project_is_not_stored_again() -> None:
    reference_runs.load()
    before = Run.objects.count()
    said = imported(SHIPPED)
    assert "record 1 is here already: reference run, 2-core CPU" in said
    assert "nothing in it is new" in said
    assert Run.objects.count() == before


def test_several_files_come_in_all_or_none(file, tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(CommandError, match=r"broken\.json: it is not JSON.*\nNothing was imported"):
        imported(file(a_record()), broken)
    assert not Run.objects.exists()


def test_undoing_leaves_all_that_is_not_of_it(file, review: Review) -> None:
    own, other = a_finished_run(), contributed()
    undone = contributed(a_record(**{"result.seed": 1}), a_record(**{"result.seed": 2}))
    assert "gone with its runs: 2" in imported(undo=undone.pk)
    assert set(Run.objects.all()) == {own, *other.runs.all()}
    assert set(Measurement.objects.values_list("run", flat=True)) == {
        own.pk,
        *other.runs.values_list("pk", flat=True),
    }
    with pytest.raises(CommandError, match="no contribution"):
        imported(undo=undone.pk)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"preset": "huge"}, "preset: 'huge' is none of"),
        ({"started": "2999-01-01T00:00:00Z", "finished": "2999-01-01T00:00:01Z"}, "in the future"),
        ({"finished": "2026-01-02T00:00:00Z"}, "finished: .* is before it started"),
        ({"started": "0001-01-01T00:00:00+14:00"}, "started: .* is before 2026"),
        ({"finished": "9999-12-31T23:59:59-14:00"}, "finished: .* is in the future"),
        ({"started": "2026-11-27T13:00:00"}, "started: Input should have timezone info"),
        ({"started": 1e9}, "started: not a text"),
        ({"result.study": "gone"}, "result.study: 'gone' is no study"),
        ({"result.study": {"a": 1}}, "is no study"),
        ({"result": 1}, "result: Input should be a valid dictionary"),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"result.seed": 2**63}, "result.seed: "),
        ({"result.parameters.sparsity": 1.5}, "result.parameters.sparsity: 1.5 is not valid"),
        ({"result.parameters.sparsity": "0.5"}, "result.parameters.sparsity: '0.5' is not valid"),
        ({"result.parameters": {}}, "result.parameters.bits: it is missing"),
        ({"result.parameters.unknown": 1}, "result.parameters.unknown: Extra inputs"),
        ({"result.environment.device": "cpu"}, "gpu: it does not go with the device cpu"),
        ({"result.environment.gpu": None}, "gpu: it does not go with the device cuda"),
        ({"result.environment.python": "x" * 201}, "result.environment.python: "),
        (
            {"result.environment.processor": "a\u202eb"},
            "result.environment.processor: it has characters that",
        ),
        ({"result.verdict": "\x1b[2J"}, "result.verdict: it has characters that are not shown"),
        ({"result.measurements.0.value": "1e999"}, "result.measurements.0.value: "),
        ({"result.measurements.0.value": 10**400}, "result.measurements.0.value: "),
        ({"result.measurements.0.unit": "GB"}, "is no metric of it"),
        ({"result.measurements.0.n": 0}, "result.measurements.0.n: "),
    ],
)
def test_a_fault_is_told_with_file_record_and_field(file, changes, fault) -> None:
    with pytest.raises(CommandError, match=rf"^results\.json: record 1: .*{fault}"):
        imported(file(a_record(**changes)))
    assert not Run.objects.exists()


def letters(seed: int) -> str:
    """Return 200 letters of four bytes each, which no database compresses."""
    return "".join(map(chr, random.Random(seed).choices(range(0x20000, 0x2A000), k=200)))


def of_instructions(texts: list[str]) -> dict[str, Any]:
    """Return a record of a processor that has these instructions."""
    processor = {"device": "cpu", "gpu": None, "instructions": texts}
    return a_record(**{f"result.environment.{name}": value for name, value in processor.items()})


def of_settings(texts: list[str]) -> dict[str, Any]:
    """Return a record with a measurement under these settings."""
    shipped = SHIPPED.with_name("quantization-quick-2-core-cpu.json")
    settings = dict(zip(("model", "bits", "group", "part"), texts, strict=False))
    return a_record(shipped, **{"result.measurements.0.settings": settings})


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (of_instructions, "environment: its processor and instructions take 3,2.. bytes, more"),
        (of_settings, "measurements.0.settings: they take 3,2.. bytes, more than 2,000"),
    ],
)
def test_texts_that_no_index_can_hold_are_told_and_half_as_many_come_in(
    file, record: Callable[[list[str]], Any], fault: str
) -> None:
    texts = [letters(seed) for seed in range(4)]
    with pytest.raises(CommandError, match=rf"record 1: result\.{fault}"):
        imported(file(record(texts)))
    assert "1 imported" in imported(file(record(texts[:2])))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it is not JSON"),
        (b"\x80\x04\x95.", "it is not JSON"),
        (b"[" * 1_000_000, "it is not JSON: recursion limit"),
        (b'{"a":' * 300_000, "it is not JSON: recursion limit"),
        (b'{"preset": NaN}', "it is not JSON"),
        (b'{"preset": "\xff"}', "it is not JSON"),
        (b'{"preset": "\\ud800"}', "it is not JSON"),
        (b"1" * 10_000, "it is not JSON: number out of range"),
        (b"null", "record 1: the whole: Input should be"),
        (b"[]", "it has 0 records"),
        (b"[" + b"{}," * MOST_RECORDS + b"{}]", "records, not 1 to"),
        (b"[" + b"1," * 100 + b"1]", "and 81 more"),
        (b" " * (MOST_BYTES + 1), "it has more than"),
        (b'{"\x1b[2J": 1}', "it is not JSON"),
        (b'{"\\u001b[2J": 1}', "characters that are not shown"),
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_what_is_no_file_of_records_is_refused(file, content: bytes, fault: str) -> None:
    with pytest.raises(CommandError, match=fault) as refused:
        imported(file(content))
    lines = str(refused.value).split("\n")
    assert all(line.isprintable() and len(line) < 400 for line in lines)
    assert len(lines) <= 23
    assert not Contribution.objects.exists()


def post(client: Client, content: bytes, **values: Any) -> Any:
    file = SimpleUploadedFile("results.json", content)
    return client.post("/contributions/import/", {"file": file, "contributor": "Grace", **values})


def test_only_who_may_imports_undoes_and_accepts(client: Client) -> None:
    content = json.dumps(a_record()).encode()
    assert post(client, content).status_code == 403
    client.force_login(a_person("runner", "add_run", "change_run", "delete_run"))
    assert "Whoever keeps this site imports them" in words(client, "/contributions/")
    assert post(client, content).status_code == 403
    kept = contributed(a_record(**{"result.seed": 1}), person=a_person("keeper"))
    for deed in ("undo", "accept", "withdraw"):
        assert client.post(f"{kept.get_absolute_url()}{deed}/").status_code == 403
        assert client.get(f"{kept.get_absolute_url()}{deed}/").status_code == 405
        assert (
            "<button"
            not in client.get(kept.get_absolute_url())
            .content.decode()
            .partition("<main")[2]
            .partition("</main")[0]
        )

    no_longer = a_person("no longer an importer")
    earlier = contributed(a_record(**{"result.seed": 3}), person=no_longer)
    client.force_login(no_longer)
    assert client.post(f"{earlier.get_absolute_url()}undo/").status_code == 403
    keeping.undo(earlier)

    client.force_login(a_person("importer", "add_contribution"))
    page = post(client, content)
    assert "1 run imported" in page.content.decode()
    own = Contribution.objects.get(importer__username="importer")
    assert "already" in post(client, content).content.decode()
    assert client.post(f"{own.get_absolute_url()}accept/").status_code == 403
    assert client.post(f"{kept.get_absolute_url()}undo/").status_code == 403
    assert client.post(f"{own.get_absolute_url()}undo/").status_code == 302
    assert set(Run.objects.all()) == set(kept.runs.all())

    client.force_login(a_person("judge", "accept_contribution", "delete_contribution"))
    assert client.post(f"{kept.get_absolute_url()}withdraw/").status_code == 409
    assert client.post(f"{kept.get_absolute_url()}accept/").status_code == 302
    assert client.post(f"{kept.get_absolute_url()}accept/").status_code == 409
    assert client.post(f"{kept.get_absolute_url()}undo/").status_code == 302
    assert not Run.objects.exists()


def test_a_form_that_a_page_elsewhere_sends_is_refused() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(a_person("importer", "add_contribution"))
    assert post(client, json.dumps(a_record()).encode()).status_code == 403
    assert not Run.objects.exists()


def test_imports_are_limited_and_a_large_file_is_refused(client: Client) -> None:
    client.force_login(a_person("importer", "add_contribution"))
    large = post(client, b" " * (MOST_BYTES + 1))
    assert large.status_code == 400
    assert "at most 2,000,000 are read" in large.content.decode()
    answers = [post(client, b"{") for _ in range(10)]
    assert [answer.status_code for answer in answers] == [400] * 9 + [429]


@pytest.mark.parametrize(
    "values",
    [
        {"contributor": ""},
        {"contributor": "a\0b"},
        {"contributor": "a\u202eb"},
        {"contributor": "two\nlines"},
        {"contributor": "x" * 101},
        {"note": "\x1b[2J"},
        {"note": "x" * 2001},
        {"file": ""},
        {"file": SimpleUploadedFile("empty.json", b"")},
        {"file": SimpleUploadedFile(f"{'x' * 300}.json", b"{}")},
        {"file": SimpleUploadedFile("../\x1b\u202e<b>.json", b"[{}]")},
    ],
)
def test_a_form_that_is_not_filled_in_rightly_imports_nothing(client: Client, values: Any) -> None:
    client.force_login(a_person("importer", "add_contribution"))
    answer = post(client, json.dumps(a_record()).encode(), **values)
    assert answer.status_code == 400
    page = answer.content.decode()
    assert "Nothing was imported." in page
    faults = page.partition('id="id_file_error"')[2].partition("</ul>")[0]
    assert not {"\x1b", "\u202e"} & set(faults)
    assert "<b>" not in faults
    assert not Contribution.objects.exists()


def standing_of_claim() -> Any:
    [standing] = standings(Claim.objects.by_code([CLAIM]))
    return standing


def test_it_decides_nothing_until_accepted_and_nothing_once_that_is_withdrawn(
    client: Client, review: Review
) -> None:
    contribution = contributed()
    run = contribution.runs.get()
    claim = Claim.objects.by_code([CLAIM]).get()
    assert Outcome.objects.filter(run=run.pk).exists()

    def undecided() -> None:
        assert standing_of_claim().status == "not run"
        assert not Claim.objects.tried().filter(pk=claim.pk).exists()
        assert not Claim.objects.get(pk=claim.pk).tried
        assert not results.standing_results(["sparsegpt"])
        assert "contributed, not accepted: not counted" in words(client, f"/claims/{CLAIM}/")

    undecided()
    judge = a_person("judge")
    assert keeping.accept(contribution, judge)
    assert standing_of_claim().status == "direction agrees"
    assert Claim.objects.get(pk=claim.pk).tried
    assert results.standing_results(["sparsegpt"])["sparsegpt"] == run
    page = words(client, f"/claims/{CLAIM}/")
    assert f"contributed run {run.pk}" in page
    assert "not accepted" not in page
    shown = words(client, "/case-studies/sparsegpt/")
    assert "contributed by Grace on" in shown
    results.judge_by_new_rules()
    assert standing_of_claim().status == "direction agrees"

    assert keeping.withdraw(contribution, judge)
    undecided()
    results.judge_by_new_rules()
    undecided()
    contribution.refresh_from_db()
    assert (contribution.accepted_by, contribution.withdrawn_by) == (judge, judge)


def test_what_was_measured_here_comes_before_what_was_contributed(review: Review) -> None:
    contribution = contributed()
    keeping.accept(contribution, a_person("judge"))
    smoke = a_finished_run(preset="smoke")
    assert results.standing_results(["sparsegpt"])["sparsegpt"].contribution == contribution
    reference_runs.load()
    standing = results.standing_results(["sparsegpt"])["sparsegpt"]
    assert standing.reference
    assert standing != smoke
    outcomes = standing_of_claim().outcomes
    assert [o.origin for o in outcomes].count("contributed") == 1
    assert outcomes[0].origin == "reference"


def test_a_run_of_another_model_than_the_bundled_one_never_counts(review: Review) -> None:
    reference_runs.load()
    other = {"name": "Other", "sha256": "cc" * 32}
    contribution = contributed(a_record(**{"result.environment.model": other}))
    keeping.accept(contribution, a_person("judge"))
    run = contribution.runs.get()
    assert run.model == "Other"
    assert not Outcome.objects.filter(run=run.pk, counts=True).exists()


def test_the_database_keeps_apart_what_is_contributed(review: Review) -> None:
    run = contributed().runs.get()
    for wrong in ({"reference": "x"}, {"owner": a_person()}, {"state": "failed"}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Run.objects.filter(pk=run.pk).update(**wrong)
    with pytest.raises(IntegrityError), transaction.atomic():
        Outcome.objects.filter(run=run.pk).update(counts=True)


def test_every_page_says_that_it_was_contributed(client: Client, review: Review) -> None:
    contribution = contributed()
    run = contribution.runs.get()
    assert "Contributed by Grace on" in words(client, run.get_absolute_url())
    assert "not measured by this site" in words(client, run.get_absolute_url())
    assert "Grace, contributed , not accepted" in words(client, "/case-studies/sparsegpt/")
    assert "On her own machine" in words(client, contribution.get_absolute_url())
    assert "Contribution" in words(client, "/contributions/")
    drawn = "/dashboards/?study=sparsegpt&runs="
    shown = words(client, f"{drawn}contributed")
    assert f"contributed run {run.pk}" in shown
    assert "1 run drawn; 1 run of these contributed, not measured by this site." in shown
    for other in ("own", "reference"):
        assert f"contributed run {run.pk}" not in words(client, f"{drawn}{other}")
    own = a_finished_run()
    assert "measured by" in words(client, "/dashboards/?study=sparsegpt")
    assert f"{own.label} ," in words(client, "/dashboards/?study=sparsegpt")

    api = client.get(f"/api/v1/runs/{run.pk}/").json()
    assert (api["origin"], api["contributor"], api["accepted"]) == ("contributed", "Grace", False)
    assert client.get("/api/v1/runs/?origin=here").json()["results"][0]["id"] == own.pk
    exports = [
        f"/runs/{run.pk}/measurements.csv",
        "/dashboards/export.csv?study=sparsegpt",
        "/api/v1/runs/?format=csv",
        "/api/v1/measurements/?format=csv",
    ]
    for address in exports:
        rows = client.get(address).getvalue().decode("utf-8-sig")
        assert "origin" in rows.partition("\n")[0]
        assert ",contributed," in rows or address.startswith("/dashboards"), address


def test_contributions_are_listed_newest_first(client: Client) -> None:
    first, second = contributed(a_record()), contributed(a_record(**{"result.seed": 1}))
    said = words(client, "/contributions/")
    assert said.index(f"Contribution {second.pk} 1 ") < said.index(f"Contribution {first.pk} 1 ")


def test_pages_ask_as_many_queries_however_many_runs_are_contributed(
    client: Client, review: Review
) -> None:
    contribution = contributed()
    addresses = [
        contribution.get_absolute_url(),
        "/contributions/",
        "/case-studies/sparsegpt/",
        "/dashboards/?study=sparsegpt",
        "/api/v1/runs/",
        "/api/v1/measurements/",
    ]
    before = [count_queries(client, address) for address in addresses]
    runs = contributed(*(a_record(**{"result.seed": seed}) for seed in range(1, 4))).runs
    runs.update(contribution=contribution)
    assert [count_queries(client, address) for address in addresses] == before


def parts(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of everything in a document."""
    yield place
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, part in inside:
        yield from parts(part, (*place, key))


RECORD = a_record()
PLACES = list(parts(RECORD))
NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63 - 1, 2**64, -(2**63), 5e-324, 1.7e308, -1.7e308, 1e-12, 0.5]
)
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    NUMBERS,
    st.none() | st.booleans(),
    st.text(max_size=20),
    st.sampled_from(["<script>", "=1+1", "../x", "cuda", "cpu", "sparsegpt", "smoke", "{}"]),
    st.just([]) | st.just({}) | st.lists(NUMBERS, max_size=3),
)


def mutated(changes: list[tuple[tuple[Any, ...], Any]]) -> Any:
    """Return the record with each of these places changed, as far as they are still there."""
    document: Any = {"whole": copy.deepcopy(RECORD)}
    for place, value in changes:
        found, path = document, ("whole", *place)
        try:
            for key in path[:-1]:
                found = found[key]
            found[path[-1]] = value
        except (LookupError, TypeError):
            continue
    return document["whole"]


@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.tuples(st.sampled_from(PLACES), ANYTHING), min_size=1, max_size=4))
def test_whatever_a_record_is_changed_to_is_refused_whole_or_shown(changes: Any) -> None:
    client = Client()
    content = json.dumps([a_record(**{"result.seed": 9}), mutated(changes)]).encode()
    with transaction.atomic():
        with suppress(InvalidFile):
            runs = read("results.json", content)
            [brought] = keeping.bring_in([("results.json", runs)], "Grace")
            for run in brought.runs:
                for address in (run.get_absolute_url(), f"/dashboards/?study={run.study}"):
                    assert client.get(address).status_code == 200, address
        transaction.set_rollback(True)
