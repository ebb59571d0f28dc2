"""The results that ship with the project."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command

from casestudies.choices import Device
from casestudies.lab import records
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import CLAIMS, QUICK, Study
from casestudies.lab.machine import Needs
from casestudies.lab.measure import environment
from casestudies.lab.result import Environment, Gpu
from casestudies.management.commands import make_reference_runs
from casestudies.models import Run
from casestudies.studies import reference_runs
from casestudies.studies.claims_table import claims_table
from reviewapp.corpus.models import Review
from taxonomy.choices import AxisKind, Status
from taxonomy.loading.writing import load
from taxonomy.models import Claim, Outcome
from tests.casestudies.making import a_finished_run
from tests.conftest import real_fixtures
from tests.lab.declared import document, toy

pytestmark = pytest.mark.django_db


def test_each_study_ships_with_one_that_its_schema_still_allows() -> None:
    shipped_runs = reference_runs.load()
    runs = Run.objects.all()
    assert shipped_runs == len(runs)
    on_cpu = {(run.study, run.preset) for run in runs if run.device == Device.CPU}
    assert on_cpu >= {
        (slug, preset)
        for slug, declared in STUDIES.items()
        for preset in {QUICK, CLAIMS} & set(declared.presets)
    }
    for run in runs:
        study = run.definition
        assert study
        assert study.check(run.preset, run.parameters).model_dump(mode="json") == run.parameters
        shipped = json.loads((reference_runs.FOLDER / f"{run.reference}.json").read_text())
        assert run.result.model_dump(mode="json") == shipped["result"]
        assert run.label.startswith("reference run, ")
        assert not run.environment["commit"].endswith("-dirty")


def test_a_run_is_made_kept_and_not_repeated_at_the_same_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_runs, "FOLDER", tmp_path)
    said = StringIO()
    call_command("make_reference_runs", "kv-cache", presets=["smoke"], stdout=said)
    [kept] = tmp_path.glob("kv-cache-smoke-*.json")
    assert said.getvalue() == f"{kept.name}\n"
    assert reference_runs.load(tmp_path) == 1

    record = json.loads(kept.read_text())["result"]["environment"]
    here = Environment(**record | {"commit": "a" * 40})
    assert not records.is_there(tmp_path, "kv-cache", "smoke", here)
    kept.write_text(kept.read_text().replace(record["commit"], "a" * 40))
    assert records.is_there(tmp_path, "kv-cache", "smoke", here)
    assert not records.is_there(tmp_path, "kv-cache", "quick", here)
    assert not records.is_there(
        tmp_path, "kv-cache", "smoke", Environment(**record | {"cores": 99, "commit": "a" * 40})
    )


@pytest.fixture
def quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what makes reference runs of studies that take no time, and returns what it said.

    The one called "fails" raises, and "refused" has a parameter that is not valid.
    """
    monkeypatch.setattr(environment, "MOMENT", 0.01)
    monkeypatch.setattr(environment, "_commit", lambda: "a" * 40)
    monkeypatch.setattr(reference_runs, "FOLDER", tmp_path)

    def make(slug: str, preset: str, options: Sequence[str]) -> dict[str, Any]:
        if slug == "fails":
            said = '{"event": "failed", "error": "ArithmeticError: no number"}\n'
            raise subprocess.CalledProcessError(1, "run", said)
        if slug == "refused":
            raise subprocess.CalledProcessError(2, "run", "")
        here = environment.environment("cuda" if "cuda" in options else "cpu")
        return {"preset": preset, "result": document(environment=here.model_dump())}

    monkeypatch.setattr(records, "make", make)

    def made(**studies: Study) -> str:
        monkeypatch.setattr(make_reference_runs, "STUDIES", studies)
        said = StringIO()
        try:
            call_command("make_reference_runs", presets=["quick"], stdout=said)
        except CommandError as error:
            said.write(str(error))
        return said.getvalue()

    return made


def a_study(slug: str, **changes: Any) -> Study:
    return toy(slug=slug, **{"needs": lambda parameters: Needs()} | changes)


def test_a_study_that_fails_ends_no_other_and_is_named_at_the_end(quickly) -> None:
    needy = a_study("needy", needs=lambda parameters: Needs(gpus=99))
    first, second, third, *rest = quickly(
        fails=a_study("fails"), refused=a_study("refused"), needy=needy, good=a_study("good")
    ).splitlines()
    assert first == "fails quick: failed: ArithmeticError: no number"
    assert second == "refused quick: failed: its process ended with status 2"
    assert third.startswith("needy quick: skipped: needs 99 GPUs; this machine has ")
    assert len(list(reference_runs.FOLDER.glob("good-quick-*-core-cpu.json"))) == 1
    assert rest[-1] == "2 failed: fails quick, refused quick"


def test_each_is_sought_under_the_hardware_that_it_runs_on(quickly, monkeypatch) -> None:
    """A study that runs on the CPU alone is not repeated because there is a GPU."""
    card = Gpu(name="A card", memory_bytes=2**30)
    monkeypatch.setattr(environment, "_gpu", lambda: card)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    studies = {"both": a_study("both"), "alone": a_study("alone", devices=("cpu",))}
    both, alone = quickly(**studies).splitlines()
    assert both == "both-quick-a-card.json"
    assert alone.endswith("-core-cpu.json")
    assert quickly(**studies).splitlines() == [
        f"{slug} quick: measured at this commit before" for slug in studies
    ]


def test_a_card_that_pytorch_cannot_use_is_left_alone(quickly, monkeypatch, tmp_path) -> None:
    listing = tmp_path / "nvidia-smi"
    listing.write_text("#!/bin/sh\necho 'GPU 0: A card (UUID: GPU-1b2c)'\n")
    listing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert quickly(both=a_study("both")).endswith("-core-cpu.json\n")


def test_loading_again_changes_only_what_the_files_have_changed(
    tmp_path: Path, django_assert_max_num_queries
) -> None:
    own = a_finished_run()
    folder = Path(shutil.copytree(reference_runs.FOLDER, tmp_path / "runs"))
    reference_runs.load(folder)
    before = dict(Run.objects.exclude(reference=None).values_list("reference", "pk"))
    with django_assert_max_num_queries(12):
        reference_runs.load(folder)
    assert dict(Run.objects.exclude(reference=None).values_list("reference", "pk")) == before

    # A file that was corrected is a row that was: with its address, and not twice its numbers.
    corrected = sorted(folder.glob("*.json"))[0]
    record = json.loads(corrected.read_text())
    record["result"]["verdict"] = "The same run in other words."
    corrected.write_text(json.dumps(record))
    reference_runs.load(folder)
    run = Run.objects.get(reference=corrected.stem)
    assert (run.pk, run.verdict) == (before[run.reference], "The same run in other words.")
    assert run.result.model_dump(mode="json") == record["result"]

    # What an older version stored in a form that is no longer read is written anew.
    Run.objects.filter(pk=run.pk).update(environment={"an": "older form"})
    reference_runs.load(folder)
    assert Run.objects.get(pk=run.pk).result == run.result

    changed, *gone = sorted(folder.glob("*.json"))
    record = json.loads(changed.read_text())
    record["finished"] = "2026-12-01T00:00:00+00:00"
    record["result"]["verdict"] = "Another result."
    changed.write_text(json.dumps(record))
    for path in gone:
        path.unlink()
    reference_runs.load(folder)
    [run] = Run.objects.exclude(reference=None)
    assert run.verdict == "Another result."
    assert run.pk not in before.values()  # another run, whose address is its own
    assert Run.objects.filter(pk=own.pk).exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "Expecting property name"),
        ("[]", "list indices must be"),
        ("{}", "'result' is missing"),
        ('{"result": {"study": "gone"}}', "no study is named 'gone'"),
        ('{"result": {"study": "qmoe"}, "started": "x"}', "Invalid isoformat string"),
    ],
)
def test_a_file_that_is_no_run_is_named_and_nothing_changes(tmp_path, content, reason) -> None:
    a_finished_run(reference="older")
    (tmp_path / "broken.json").write_text(content)
    with pytest.raises(reference_runs.InvalidRun, match=rf"broken\.json: .*{reason}"):
        reference_runs.load(tmp_path)
    assert Run.objects.get().reference == "older"


def test_outcomes_are_judged_again_when_the_review_is_loaded_later() -> None:
    reference_runs.load()
    assert not Outcome.objects.exists()
    load(real_fixtures())
    reference_runs.load()
    found = Claim.objects.tried([Status.SUPPORTED]).values_list("publication__key", "position")
    assert ("frantar2023qmoe", 1) in found
    Run.objects.filter(study="qmoe").delete()
    assert not Outcome.objects.filter(study="qmoe").exists()


def test_a_number_beside_a_claim_is_in_the_unit_of_its_axis(review: Review) -> None:
    reference_runs.load()
    outcomes = Outcome.objects.select_related("claim__axis__quantity", "claim__publication")
    drawn = 0
    for outcome in outcomes:
        quantity = outcome.claim.axis.quantity
        unit = "x" if quantity.axis_kind == AxisKind.RATIO else quantity.axis_unit
        for number in outcome.numbers:
            if number.get("claimed"):
                # "bits" are of the axis "bit", and "x bfloat16" is a factor.
                assert number["unit"].startswith(unit), (outcome.claim.code, number["name"])
                drawn += 1
    assert drawn


def test_the_readme_quotes_what_the_reference_runs_found(review: Review) -> None:
    reference_runs.load()
    readme = Path(__file__).parents[2] / "README.md"
    assert claims_table() in readme.read_text("utf-8"), "write it with manage.py claims_table"
