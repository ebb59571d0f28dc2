"""`python -m casestudies.lab list`, `models`, `describe SLUG`, `run SLUG ...`, `run-all ...` and
`gpu-check ...`.

A run writes its events to standard output, one JSON object a line, and nothing else goes there.
The exit status is 0 if it succeeded, 1 if it failed, or one of all, and 2 if a parameter was not
valid.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from casestudies.lab import batch
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import (
    PRESETS,
    QUICK,
    SMOKE,
    InvalidParameter,
    Parameters,
    Setup,
    Study,
    bounds_of,
)
from casestudies.lab.describe import describe
from casestudies.lab.machine import Machine, launched_rank, prepare_threads
from casestudies.lab.models.offered import BUNDLED_LICENCE, offered
from casestudies.lab.report import Report, StudyRun
from casestudies.lab.result import LARGEST_SEED, Event, Failed, Finished, Result, Started

ACCEPTED = {
    "model": "the name of a model that MODELS_DIR offers, a GGUF file or a folder of safetensors,"
    " in place of the bundled model",
    "text": "a UTF-8 file to calibrate and evaluate on, in place of Python's own reference",
}
DONE, NOT_VALID, INTERRUPTED = 0, 2, 130


def main(arguments: list[str] | None = None) -> int:
    """Carry out the command line and return the exit status."""
    options = _parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list_studies,
        "models": _list_models,
        "describe": _describe,
        "run": _run_one,
        "run-all": _run_all,
        "gpu-check": _gpu_check,
    }
    return commands[options.command](options)


def _list_studies(options: argparse.Namespace) -> int:
    sys.stdout.writelines(f"{study.slug}\t{study.title}\n" for study in STUDIES.values())
    return DONE


def _list_models(options: argparse.Namespace) -> int:
    """Name the models that are offered, and on standard error what is wrong with others."""
    listing = offered()
    sys.stdout.writelines(
        f"{name}\t{model.about.licence}\t{model.about.source}\n"
        for name, model in listing.models.items()
    )
    sys.stderr.writelines(f"{problem}\n" for problem in listing.problems)
    return int(bool(listing.problems))


def _describe(options: argparse.Namespace) -> int:
    sys.stdout.writelines(f"{line}\n" for line in describe(STUDIES[options.slug]))
    return DONE


def _run_one(options: argparse.Namespace) -> int:
    study = STUDIES[options.slug]
    names = study.parameters.model_fields
    given = {name: getattr(options, name) for name in names if hasattr(options, name)}
    try:
        parameters = study.check(options.preset, given)
        study.check_machine(parameters, Machine.here(study.needs(parameters).libraries))
        setup = _on_one_of(study, _setup(options), options.device)
    except InvalidParameter as error:
        sys.stderr.write(f"{error}\n")
        return NOT_VALID
    try:
        result = run(study, parameters, setup, _event_stream())
    except KeyboardInterrupt:
        return INTERRUPTED
    if options.json and _is_first():
        options.json.write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return DONE


def run(
    study: Study, parameters: Parameters, setup: Setup, emit: Callable[[Event], None]
) -> Result:
    """Run the study, tell `emit` of each event and return the result.

    The last event is Finished, which holds the result, or Failed; then the cause is raised.
    """
    from casestudies.lab.measure.energy import Meter
    from casestudies.lab.measure.environment import environment, keep_float32

    head: dict[str, Any] = {
        "study": study.slug,
        "parameters": parameters.model_dump(mode="json"),
        "seed": setup.seed,
    }
    keep_float32()
    found = environment(setup.device)
    emit(Started(**head, environment=found))
    report = Report(study, emit)
    measure: StudyRun = import_module(study.module).run
    try:
        with Meter(setup.device) as meter:
            verdict = measure(parameters, setup, report)
    except Exception as error:
        emit(Failed(error=f"{type(error).__name__}: {error}"))
        raise
    sources = report.sources
    if setup.licence and "model" in sources:
        sources["model"] = sources["model"].model_copy(update={"licence": setup.licence})
    result = Result(
        **head,
        environment=found.model_copy(
            update={**sources, "precision": report.precision, "energy": meter.energy}
        ),
        measurements=report.measurements,
        series=report.curves,
        verdict=verdict,
    )
    emit(Finished(result=result.model_dump(mode="json")))
    return result


def _run_all(options: argparse.Namespace) -> int:
    """Run the preset of every study, say what came of each, and return 1 if one failed."""
    if launched_rank():
        sys.stderr.write("run-all is one process; torchrun may start `run` of a study\n")
        return NOT_VALID
    if unknown := set(options.slugs) - set(STUDIES):
        sys.stderr.write(f"{min(unknown)} is no study; `list` names them\n")
        return NOT_VALID
    try:
        setup = replace(_setup(options), shared={})
    except InvalidParameter as error:
        sys.stderr.write(f"{error}\n")
        return NOT_VALID
    studies = [study for study in STUDIES.values() if study.slug in (options.slugs or STUDIES)]
    emit = _event_stream()

    def carry_out_one(study: Study) -> Result | str:
        chosen = setup if options.device else _on_one_of(study, setup)
        if reason := batch.reason_to_skip(study, options.preset, chosen.device):
            return reason
        if study.isolated:
            machine = ["--device", chosen.device, "--seed", str(chosen.seed)]
            return batch.in_own_process(study, ["--preset", options.preset, *machine], emit)
        return run(study, study.check(options.preset, {}), chosen, emit)

    ended: list[batch.Ended] = []
    try:
        for one in batch.carry_out(studies, carry_out_one):
            ended.append(one)
            if options.report:  # each time, so that it has what there is when the run is ended
                batch.write_report(options.report, ended)
    except KeyboardInterrupt:
        return INTERRUPTED
    return int(any(one.reason.startswith("failed") for one in ended))


def _gpu_check(options: argparse.Namespace) -> int:
    """Check what a GPU must show; return 1 if it does not, and 2 without one."""
    import torch

    if not torch.cuda.is_available():
        sys.stderr.write("gpu-check needs a CUDA device; this machine has none\n")
        return NOT_VALID
    from casestudies.lab import gpu_check
    from casestudies.lab.measure.environment import keep_float32

    keep_float32()
    passed = gpu_check.check(list(STUDIES.values()), options.minutes, options.report)
    sys.stdout.write((options.report / "report.md").read_text(encoding="utf-8"))
    return int(not passed)


def _on_one_of(study: Study, setup: Setup, asked: str | None = None) -> Setup:
    """Return the setup on a device that the study runs on; raise InvalidParameter if asked else."""
    if asked:
        study.check_device(asked)
    return setup if setup.device in study.devices else replace(setup, device=study.devices[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m casestudies.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name the studies")
    commands.add_parser("models", help="name the models that MODELS_DIR offers")
    describing = commands.add_parser("describe", help="say what a study declares")
    describing.add_argument("slug", choices=list(STUDIES))
    every = commands.add_parser("run-all", help="run a preset of every study, one after another")
    # With choices, argparse before Python 3.12 asks that none be one of them, too.
    every.add_argument("slugs", nargs="*", metavar="SLUG", help="these studies only")
    every.add_argument("--preset", choices=PRESETS, default=SMOKE)
    every.add_argument("--report", type=Path, help="write a table: .md, .html, or all as .json")
    _add_machine(every)
    gpu = commands.add_parser("gpu-check", help="check in minutes what a GPU must show")
    gpu.add_argument("--minutes", type=float, default=8, help="when to stop; default 8")
    gpu.add_argument("--report", type=Path, default=Path("var/gpu-check"), help="a folder")
    slugs = commands.add_parser("run", help="run a study").add_subparsers(
        dest="slug", required=True, metavar="SLUG"
    )
    for study in STUDIES.values():
        _add_study(slugs.add_parser(study.slug, help=study.title, description=study.summary), study)
    return parser


def _add_study(parser: argparse.ArgumentParser, study: Study) -> None:
    parser.add_argument("--preset", choices=list(study.presets), default=QUICK)
    _add_machine(parser)
    for what in study.accepts:
        parser.add_argument(f"--{what}", type=Path, help=ACCEPTED[what])
    parser.add_argument("--json", type=Path, help="write the result to this file")
    for parameter, schema in study.schemas.items():
        words = f"{schema['description']} ({bounds_of(schema)})".replace("%", "%%")
        option = f"--{parameter.replace('_', '-')}"
        parser.add_argument(
            option, dest=parameter, default=argparse.SUPPRESS, metavar="X", help=words
        )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=["cpu", "cuda"], help="CUDA if present, else the CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads; all cores if left out")


def _setup(options: argparse.Namespace) -> Setup:
    if options.threads is not None and options.threads < 1:
        raise InvalidParameter("threads", f"{options.threads} is not valid; integer, 1 or more")
    prepare_threads(options.threads)
    if not 0 <= options.seed <= LARGEST_SEED:
        raise InvalidParameter("seed", f"{options.seed} is not valid; integer, 0 to {LARGEST_SEED}")
    brought = {name: getattr(options, name, None) for name in ACCEPTED}
    licence: str | None = BUNDLED_LICENCE
    if asked := brought["model"]:
        listed = offered().models.get(str(asked))
        licence = listed.about.licence if listed else None
        brought["model"] = listed.path if listed else asked
    for what, path in brought.items():
        if path and not path.exists():
            raise InvalidParameter(what, f"{path} does not exist")
    for what in ("json", "report"):
        path = getattr(options, what, None)
        if path and not path.resolve().parent.is_dir():
            raise InvalidParameter(what, f"{path.parent} does not exist")
    import torch

    present = torch.cuda.is_available()
    if options.device == "cuda" and not present:
        raise InvalidParameter("device", "cuda is not valid; this machine has no CUDA device")
    device: Literal["cpu", "cuda"] = options.device or ("cuda" if present else "cpu")
    return Setup(device, options.seed, **brought, licence=licence)


def _is_first() -> bool:
    rank, _ = launched_rank() or (0, 1)
    return rank == 0


def _event_stream() -> Callable[[Event], None]:
    """Return what writes an event to standard output, and send all other output to stderr.

    Of several ranks that torchrun has started only the first writes.
    """
    sys.stdout.flush()
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    if not _is_first():
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
    os.dup2(2, 1)

    def emit(event: Event) -> None:
        stream.write(event.model_dump_json() + "\n")
        stream.flush()

    return emit


if __name__ == "__main__":
    sys.exit(main())
