"""The whole study."""

from typing import cast

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Setup
from casestudies.lab.report import Report
from casestudies.lab.studies.qmoe import study
from casestudies.lab.studies.qmoe.about import QMoeParameters
from tests.lab.smoke import shares_the_smoke_run, smoke_run

CODES = ("paper", "tunstall-16", "tunstall-8", "rans")


@shares_the_smoke_run("qmoe")
def test_the_smoke_preset_trains_compresses_and_reports() -> None:
    found = smoke_run("qmoe").result
    # Only the curve, which the preset leaves out, finds where two losses match, and only a GPU
    # multiplies from code words in a kernel.
    assert {m.metric for m in found.measurements} == {
        metric.name for metric in STUDIES["qmoe"].metrics if metric.name != "matched loss ratio"
    } - STUDIES["qmoe"].gpu_only
    assert found.value("loss increase", "gptq") < found.value("loss increase", "rtn")
    for control in ("experts zeroed", "experts reset"):
        assert found.value("loss increase", control) > found.value("loss increase", "gptq")
    for code in CODES:
        payload = found.value("payload", "gptq", code=code)
        assert payload < found.value("bits per weight", "gptq", code=code)
    assert found.value("product speed", "paper", size=1) > 0
    # What is in no expert stays at 16 bits, which is the same share of the model in every code.
    whole = {code: found.value("bits per parameter", "gptq", code=code) for code in CODES}
    bits = {code: found.value("bits per weight", "gptq", code=code) for code in CODES}
    shares = [(16 - whole[code]) / (16 - bits[code]) for code in CODES]
    assert shares == pytest.approx([shares[0]] * len(CODES))
    assert 0 < shares[0] < 1
    ratios = [found.value("compression ratio", "gptq", code=code) for code in CODES]
    assert ratios == pytest.approx([16 / whole[code] for code in CODES])
    assert 1.15 <= found.value("payload over entropy", "paper") <= 1.18
    assert f"to {found.value('perplexity', 'gptq'):.4g} with GPTQ" in found.verdict
    outcomes = {claim: outcome.status for claim, outcome in STUDIES["qmoe"].judge(found).items()}
    assert outcomes == {
        "frantar2023qmoe-0": "supported",
        "frantar2023qmoe-1": "supported",
        "frantar2023qmoe-2": "not run",
    }


def test_a_run_that_cannot_be_says_why() -> None:
    parameters = STUDIES["qmoe"].check("smoke", {"evaluation_windows": 4096})
    report = Report(STUDIES["qmoe"], lambda event: None)
    with pytest.raises(ValueError, match="not 4096"):
        study.run(cast(QMoeParameters, parameters), Setup("cpu", 0), report)
