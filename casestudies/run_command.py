"""The command of a run: what its worker starts, and what a person types to repeat it."""

import shlex

from casestudies.models import Run


def arguments(run: Run) -> list[str]:
    """Return the arguments after `python` that carry out exactly this run."""
    options = ["--preset", run.preset, "--device", run.device, "--seed", str(run.seed)]
    if run.model:
        options += ["--model", run.model]
    if threads := run.environment.get("threads"):
        options += ["--threads", str(threads)]
    for name, value in run.changed.items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    return ["-m", "casestudies.lab", "run", run.study, *options]


def command_line(run: Run) -> str | None:
    """Return what to type to repeat the run; None when its preset is not in the catalogue."""
    study = run.definition
    if study is None or run.preset not in study.presets:
        return None
    return shlex.join(["python", *arguments(run)])
