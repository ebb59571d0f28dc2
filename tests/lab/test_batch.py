"""Running every study in one process, and the table of what came of each."""

import json
import os
import select
import subprocess
from pathlib import Path

import pytest

from casestudies.lab.batch import Ended, carry_out, in_own_process, to_its_end, write_report
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.models import files
from casestudies.lab.result import Event
from tests.lab.declared import TOY, document, toy


def ended() -> list[Ended]:
    """Return how a good, a failing and an impossible study ended."""

    def run(study):
        if study.slug == "fails":
            raise ArithmeticError("no |\nnumber")
        return "skipped: needs 2 GPUs" if study.slug == "skipped" else TOY.read(document())

    return list(carry_out([toy(slug=slug) for slug in ("fails", TOY.slug, "skipped")], run))


def test_a_study_that_fails_ends_no_other() -> None:
    failed, done, skipped = ended()
    assert failed.reason == "failed: ArithmeticError: no |\nnumber"
    assert done.result
    assert done.reason == ""
    assert skipped.reason == "skipped: needs 2 GPUs"
    assert all(0 <= one.seconds < 60 for one in (failed, done, skipped))


def test_a_process_of_its_own_that_fails_says_why(tmp_path: Path) -> None:
    events: list[Event] = []
    options = ["--preset", "smoke", "--model", str(tmp_path)]
    said = in_own_process(STUDIES["sparsegpt"], options, events.append)
    assert isinstance(said, str)
    assert said.startswith("failed: FileNotFoundError: ")
    assert "config.json" in said
    assert [event.event for event in events][-1] == "failed"
    said = in_own_process(STUDIES["sparsegpt"], ["--preset", "none"], events.append)
    assert said == "failed: its process ended with status 2"


@pytest.mark.parametrize("stdout", [subprocess.PIPE, subprocess.DEVNULL])
def test_a_process_whose_time_is_over_leaves_none_that_it_has_started(stdout: int) -> None:
    """As run-all starts one for a study that is isolated, which would keep its memory."""
    ended, living = os.pipe()  # which is closed once the last of them is gone
    command = ["sh", "-c", "sleep 60 & wait"]
    with pytest.raises(subprocess.TimeoutExpired):
        to_its_end(command, 0.5, stdout=stdout, pass_fds=[living])
    os.close(living)
    assert select.select([ended], [], [], 5)[0]
    os.close(ended)


@pytest.mark.parametrize("ending", [".md", ".html", ".json"])
def test_the_report_has_what_came_of_each(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"report{ending}"
    write_report(path, ended())
    text = path.read_text(encoding="utf-8")
    assert "needs 2 GPUs" in text
    assert document()["verdict"] in text
    if ending == ".json":
        failed, done, _ = json.loads(text)
        assert failed["result"] is None
        assert TOY.read(done["result"]) == TOY.read(document())
    if ending == ".md":
        assert [line.count("|") for line in text.splitlines()] == [4] * 5


def test_models_that_share_a_file_have_weights_of_their_own() -> None:
    shared: dict = {}
    first = files.load(shared=shared)
    first.model.embedding.weight.zero_()
    second = files.load(shared=shared)
    assert second.model.embedding.weight.abs().sum() > 0
    assert second.sha256 == first.sha256
    assert len(shared) == 1
