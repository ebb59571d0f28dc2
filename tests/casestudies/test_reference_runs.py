"""The results that ship with the project."""

import json
import shutil
from pathlib import Path

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.models import Run
from casestudies.studies import reference_runs
from tests.casestudies.making import a_finished_run

pytestmark = pytest.mark.django_db


def test_each_study_ships_with_one_that_its_schema_still_allows() -> None:
    assert reference_runs.load() == len(STUDIES)
    for run in Run.objects.all():
        study = run.definition
        assert study
        assert study.check(run.preset, run.parameters).model_dump(mode="json") == run.parameters
        shipped = json.loads((reference_runs.FOLDER / f"{run.reference}.json").read_text())
        assert run.document() == shipped["result"]
        assert run.label == f"reference run, {run.environment['cores']}-core CPU"
        assert not run.environment["commit"].endswith("-dirty")


def test_loading_again_changes_only_what_the_files_have_changed(tmp_path: Path) -> None:
    own = a_finished_run()
    folder = Path(shutil.copytree(reference_runs.FOLDER, tmp_path / "runs"))
    reference_runs.load(folder)
    before = dict(Run.objects.exclude(reference=None).values_list("reference", "pk"))
    reference_runs.load(folder)
    assert dict(Run.objects.exclude(reference=None).values_list("reference", "pk")) == before

    changed, gone = (folder / f"{slug}-quick.json" for slug in ("sparsegpt", "qmoe"))
    record = json.loads(changed.read_text())
    record["finished"] = "2026-12-01T00:00:00+00:00"
    record["result"]["verdict"] = "Another result."
    changed.write_text(json.dumps(record))
    gone.unlink()
    reference_runs.load(folder)
    [run] = Run.objects.exclude(reference=None)
    assert run.verdict == "Another result."
    assert Run.objects.filter(pk=own.pk).exists()
