"""`python -m benchmarks.sparsegpt`: SparseGPT held against a transcription of the paper.

On the bundled model and Python's own reference, one thread, CPU seconds. Every run is a process
of its own, so that its peak memory is its own, and the two programs alternate, so that other work
on the machine meets both alike. Each of the three rounds starts from weights changed by another
millionth: a single run of the transcription itself moves by several percent, so medians are
compared. It takes about half an hour; `--rounds 1` takes a third of that.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.bars import Bar, all_reached

WINDOWS, LENGTH, EVALUATION = 16, 512, 8
MODES: dict[str, dict[str, Any]] = {
    "50 %": {"zeros": 0, "group": 0, "bits": None},
    "2:4": {"zeros": 2, "group": 4, "bits": None},
    "50 % + 4 bits": {"zeros": 0, "group": 0, "bits": 4},
}


def main() -> int:
    """Print the bars and return 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", nargs="*", choices=list(MODES), default=list(MODES))
    parser.add_argument("--one", nargs=3, metavar=("PROGRAM", "MODE", "ROUND"))
    options = parser.parse_args()
    if options.one:
        program, mode, number = options.one
        print(json.dumps(measure(program, MODES[mode], int(number))))
        return 0
    bars = (bar for mode in options.modes for bar in compare(mode, options.rounds))
    return int(not all_reached(bars))


def compare(mode: str, rounds: int) -> list[Bar]:
    """Run both programs by turns and return their ratios as bars."""
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "oracle": []}
    for number in range(rounds):
        for program, found in runs.items():
            found.append(in_own_process(program, mode, number))
    ours, oracle = (medians(found) for found in runs.values())
    ratio = {name: ours[name] / oracle[name] for name in ours}
    bars = [
        Bar(f"{mode}: perplexity / transcription's", ratio["perplexity"], most=1.03),
        Bar(f"{mode}: prune step's time / transcription's", ratio["prune"], most=1 / 2),
        Bar(f"{mode}: whole run's time / transcription's", ratio["total"], most=1 / 1.4),
        Bar(f"{mode}: peak memory / transcription's", ratio["peak_mib"], most=1.15),
    ]
    if mode != "50 %":
        return bars
    simpler = {name: in_own_process(name, mode, 0)["perplexity"] for name in ("wanda", "magnitude")}
    return [
        *bars,
        Bar("50 %: perplexity / Wanda's", ours["perplexity"] / simpler["wanda"], most=0.90),
        Bar("50 %: perplexity / magnitude's", ours["perplexity"] / simpler["magnitude"], most=0.25),
    ]


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each value over the runs."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def in_own_process(program: str, mode: str, number: int) -> dict[str, float]:
    """Return what one run measured: perplexity, CPU seconds and peak memory in MiB."""
    command = [sys.executable, "-m", "benchmarks.sparsegpt", "--one", program, mode, str(number)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    print(f"{mode}, {program}, round {number}: {result}", file=sys.stderr)
    return result


def measure(program: str, mode: dict[str, Any], number: int) -> dict[str, float]:
    """Prune the model by one program in this process and return what it cost and left."""
    import torch

    from casestudies.lab.data import text
    from casestudies.lab.measure.cost import Measured
    from casestudies.lab.measure.perplexity import perplexity
    from casestudies.lab.models import files as model_files

    pretrained, corpus = model_files.load(), text.corpus()
    model = pretrained.model
    calibration = text.windows(corpus.calibration, pretrained.tokenizer, LENGTH)
    calibration = text.sample(calibration, WINDOWS, seed=0)
    evaluation = text.windows(corpus.evaluation, pretrained.tokenizer, LENGTH)
    generator = torch.Generator().manual_seed(number)
    for linear in model.linears().values():
        noise = torch.randn(linear.weight.shape, generator=generator)
        linear.weight.mul_(1 + 1e-6 * number * noise)
    clock = Clock()
    with Measured("cpu") as cost:
        PROGRAMS[program](model, calibration, mode, clock)
    return {
        "perplexity": perplexity(model, text.spaced(evaluation, EVALUATION)),
        "prune": clock.seconds,
        "total": cost.cpu_seconds,
        "peak_mib": cost.peak_mib,
    }


class Clock:
    """Adds up the CPU seconds of the calls it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Any) -> Any:
        """Return `function` with its time added here."""

        def wrapped(*arguments: Any, **named: Any) -> Any:
            start = time.process_time()
            result = function(*arguments, **named)
            self.seconds += time.process_time() - start
            return result

        return wrapped


def _ours(model: Any, calibration: Any, mode: dict[str, Any], clock: Clock) -> None:
    from casestudies.lab.quantize.hessian import gram
    from casestudies.lab.quantize.layerwise import compress
    from casestudies.lab.studies.sparsegpt.masks import Pattern
    from casestudies.lab.studies.sparsegpt.solver import Settings, prune

    settings = Settings(Pattern(0.5, mode["group"] or None), bits=mode["bits"])
    timed = clock.timed(prune)
    compress(model, calibration, lambda weights, inputs: timed(weights, gram(inputs), settings))


def _oracle(model: Any, calibration: Any, mode: dict[str, Any], clock: Clock) -> None:
    from benchmarks.oracles import sparsegpt

    timed = clock.timed(sparsegpt.prune)
    sparsegpt.prune_model(model, calibration, timed, sparsity=0.5, **mode)


def _wanda(model: Any, calibration: Any, mode: dict[str, Any], clock: Clock) -> None:
    from casestudies.lab.quantize.layerwise import compress
    from casestudies.lab.studies.sparsegpt.baselines import wanda
    from casestudies.lab.studies.sparsegpt.masks import Pattern

    compress(model, calibration, lambda ws, inputs: [wanda(w, inputs, Pattern(0.5)) for w in ws])


def _magnitude(model: Any, calibration: Any, mode: dict[str, Any], clock: Clock) -> None:
    from casestudies.lab.quantize.layerwise import compress
    from casestudies.lab.studies.sparsegpt.baselines import magnitude
    from casestudies.lab.studies.sparsegpt.masks import Pattern

    compress(model, calibration[:1], lambda ws, inputs: [magnitude(w, Pattern(0.5)) for w in ws])


PROGRAMS = {
    "ours": _ours,
    "oracle": _oracle,
    "wanda": _wanda,
    "magnitude": _magnitude,
}

if __name__ == "__main__":
    sys.exit(main())
