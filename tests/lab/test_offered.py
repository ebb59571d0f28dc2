"""Models that may be asked for by name."""

import json
import shutil
from pathlib import Path

import pytest

from casestudies.lab.models import files
from casestudies.lab.models.offered import read
from tests.lab.smoke import lab

ABOUT = "name: ours\nlicence: MIT\nsource: https://example.org\n"


def offer(folder: Path, about: str = ABOUT, stem: str = "model") -> Path:
    """Put a model into the folder with this text beside it, and return its path."""
    folder.mkdir(exist_ok=True)
    (folder / f"{stem}.yaml").write_text(about, encoding="utf-8")
    path = folder / f"{stem}.gguf"
    path.touch()
    return path


def test_files_and_folders_are_found_by_the_names_that_stand_beside_them(tmp_path: Path) -> None:
    gguf = offer(tmp_path)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "model.yaml").write_text(ABOUT.replace("ours", "theirs"), encoding="utf-8")
    listing = read(tmp_path)
    assert {name: model.path for name, model in listing.models.items()} == {
        "ours": gguf,
        "theirs": folder,
    }
    assert listing.models["ours"].about.licence == "MIT"
    assert listing.problems == ()


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ("name: ours\nsource: here\n", "bad.yaml: licence: Field required"),
        (ABOUT.replace("ours", "../ours"), "bad.yaml: name: String should match"),
        (ABOUT + "path: /etc\n", "bad.yaml: path: Extra inputs"),
        ("- a list", "bad.yaml: the whole: Input should be"),
        ("name: [", "bad.yaml: while parsing"),
        (ABOUT.replace("ours", "good"), "bad.gguf|good.gguf: name: good is taken"),
    ],
)
def test_a_problem_is_one_line_and_costs_no_other_model(tmp_path: Path, about, words) -> None:
    offer(tmp_path, ABOUT.replace("ours", "good"), "good")
    offer(tmp_path, about, "bad")
    listing = read(tmp_path)
    assert list(listing.models) == ["good"]
    (problem,) = listing.problems
    assert any(word in problem for word in words.split("|"))
    assert "\n" not in problem


def test_what_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = offer(tmp_path / "outside")
    folder = tmp_path / "models"
    linked = offer(folder, ABOUT, "linked")
    linked.unlink()
    linked.symlink_to(outside)
    (folder / "weights").mkdir()
    (folder / "weights" / "model.yaml").write_text(ABOUT, encoding="utf-8")
    (folder / "weights" / "a.safetensors").symlink_to(outside)
    (folder / "all").symlink_to(outside.parent)
    listing = read(folder)
    assert listing.models == {}
    assert [problem.split(": ")[1] for problem in listing.problems] == [
        f"it leads out of {folder}"
    ] * 3


def test_without_its_text_or_its_folder_nothing_is_offered(tmp_path: Path) -> None:
    (tmp_path / "lonely.gguf").touch()
    (problem,) = read(tmp_path).problems
    assert "lonely.yaml" in problem
    (problem,) = read(tmp_path / "none").problems
    assert problem == f"MODELS_DIR: {tmp_path / 'none'} is not a folder"


def test_a_run_by_name_says_the_licence(tmp_path: Path, monkeypatch) -> None:
    offer(tmp_path)
    shutil.copyfile(files.bundled_model(), tmp_path / "model.gguf")
    offer(tmp_path, "name: bad", "bad")
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    done = lab("models")
    assert done.stdout == "ours\tMIT\thttps://example.org\n"
    assert "bad.yaml: licence: Field required" in done.stderr
    done = lab("run", "kv-cache", "--preset", "smoke", "--model", "ours")
    assert done.returncode == 0, done.stderr
    model = json.loads(done.stdout.splitlines()[-1])["result"]["environment"]["model"]
    assert (model["name"], model["licence"]) == ("model", "MIT")
    done = lab("run", "kv-cache", "--model", "none")
    assert (done.returncode, done.stderr) == (2, "model: none does not exist\n")
