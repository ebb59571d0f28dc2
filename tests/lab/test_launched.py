"""A study whose ranks torchrun has started."""

import json
import subprocess
import sys

from tests.lab.smoke import ROOT, shares_the_smoke_run, smoke_run

ZERO = ("run", "zero", "--preset", "smoke")


@shares_the_smoke_run("zero")
def test_ranks_of_torchrun_give_one_result_and_it_is_that_of_ranks_started_here() -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "casestudies.lab", *ZERO],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events].count("result") == 1
    found, own = events[-1]["result"], smoke_run("zero").document
    repeatable = {"training loss", "equality error", "weight difference", "bytes sent"}
    for ours, theirs in zip(own["measurements"], found["measurements"], strict=True):
        assert ours["metric"] not in repeatable or ours == theirs
    assert found["verdict"] == own["verdict"]
