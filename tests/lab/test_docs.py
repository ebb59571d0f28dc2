"""docs/lab.md leaves nothing out."""

from pathlib import Path

import pytest

from casestudies.lab.__main__ import main
from casestudies.lab.catalogue import STUDIES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "lab.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.slug)
def test_every_parameter_and_metric_is_explained(study) -> None:
    names = [*study.parameters.model_fields, *(metric.name for metric in study.metrics)]
    assert [name for name in names if f"| `{name}` |" not in DOCUMENT] == []


def test_every_option_of_a_run_is_explained(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["run", "sparsegpt", "--help"])
    parameters = {f"--{n.replace('_', '-')}" for n in STUDIES["sparsegpt"].parameters.model_fields}
    words = capsys.readouterr().out.split()
    options = {word for word in words if word.startswith("--")} - parameters - {"--help"}
    assert {option for option in options if f"| `{option}` |" not in DOCUMENT} == set()
