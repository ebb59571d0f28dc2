"""`python -m benchmarks.qmoe`: what the codes and the compression of experts must reach.

Sizes and speeds are measured on random weights, losses in a run of the study's preset "quick". All
bars are ratios within this one run, so that the machine matters little; the products out of cache
need 2 GiB of memory. It takes about five minutes.
"""

import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.bars import Bar, all_reached
from benchmarks.oracles.qmoe import PATTERNS, fewest_codes, sequences, ternary
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.result import Result
from casestudies.lab.studies.qmoe import speed
from casestudies.lab.studies.qmoe.codes import coding, container, dictionary
from casestudies.lab.studies.qmoe.codes.container import CODES
from casestudies.lab.studies.qmoe.codes.ternary import Ternary

ZEROS = 0.885
OURS = {0.7: 1.04, 0.8: 1.04, 0.885: 1.05, 0.95: 1.12}
SHAPES = [(1, 1), (1, 2), (1, 27), (1, 28), (1, 29), (5, 31), (3, 4095), (7, 4096), (33, 4097)]
EMPTY = [(0, 5), (5, 0)]
OUT_OF_CACHE, IN_CACHE = 768, 16  # MiB in float32
COPIED = 2**28  # bytes


def main() -> int:
    """Print the bars and return 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes-only", action="store_true", help="leave out the study's run")
    options = parser.parse_args()
    parts = [sizes(), exactness(), speeds()]
    if not options.codes_only:
        parts.append(compression())
    return int(not all_reached(itertools.chain(*parts)))


def sizes() -> Iterator[Bar]:
    """Yield how near the codes come to the entropy, and what they take at worst."""
    matrix = speed.random_weights(1024, 4096, ZEROS, seed=0)
    ratio = {code: payload_bits(matrix, code) / matrix.entropy() for code in CODES}
    yield Bar("paper's code / entropy, 88.5 % zeros", ratio["paper"], 1.15, 1.18)
    yield Bar("Tunstall, 16 bits / entropy", ratio["tunstall-16"], most=1.05)
    yield Bar("Tunstall, 8 bits / entropy", ratio["tunstall-8"], most=1.12)
    yield Bar("Tunstall, 8 bits / paper's code", ratio["tunstall-8"] / ratio["paper"], most=1)
    yield Bar("range code / entropy", ratio["rans"], most=1.02)
    for zeros, most in OURS.items():
        matrix = speed.random_weights(512, 4096, zeros, seed=1)
        found = payload_bits(matrix, "tunstall-16") / matrix.entropy()
        yield Bar(f"Tunstall, 16 bits / entropy, {100 * zeros:g} % zeros", found, most=most)
    worst = max(
        payload_bits(ternary((4, 4100), pattern), code) for pattern in PATTERNS for code in CODES
    )
    yield Bar("largest payload of any pattern, bits per weight", worst, most=1.6)


def payload_bits(matrix: Ternary, code: container.Code) -> float:
    """Return the code words' bits per weight."""
    return 8 * container.encode(matrix, code).units.nbytes / matrix.trits.size


def exactness() -> Iterator[Bar]:
    """Yield how many matrices do not come back, and rows that take too many code words."""
    cases = list(itertools.product([*SHAPES, *EMPTY], PATTERNS, CODES))
    bad = sum(not comes_back(ternary(shape, pattern), code) for shape, pattern, code in cases)
    yield Bar(f"matrices of {len(cases)} that do not come back bit by bit", bad, most=0)
    known, most_units = set(sequences(dictionary.paper())), coding.base_3_units(400, 16)
    longer = rows = 0
    for zeros in (0.7, ZEROS, 0.95):
        matrix = speed.random_weights(16, 400, zeros, seed=2)
        counts = container.encode(matrix, "paper").counts
        for row, count in zip(matrix.trits, counts.tolist(), strict=True):
            rows += 1
            longer += count > min(fewest_codes(row, known), most_units)
    yield Bar(f"rows of {rows} that could take fewer of the paper's code words", longer, most=0)


def comes_back(matrix: Ternary, code: container.Code) -> bool:
    """Return whether the matrix, its rows one by one and its reported size are exact."""
    data = container.pack(matrix, code)
    packed = container.unpack(data)
    one_by_one = [packed.matrix(np.array([row])).trits for row in range(len(matrix.trits))]
    parts = container.HEADER.size + container.CHECK.size + packed.units.nbytes
    parts += (4 + data[7]) * len(matrix.trits)  # two scales and a count a row
    return (
        np.array_equal(packed.matrix().trits, matrix.trits)
        and np.array_equal(packed.scales, matrix.scales)
        and all(map(np.array_equal, one_by_one, matrix.trits[:, None]))
        and len(data) == parts
    )


def speeds() -> Iterator[Bar]:
    """Yield how fast weights are coded and multiplied, and how far products are off."""
    matrix = speed.random_weights(speed.CODED_ROWS, speed.COLUMNS, ZEROS, seed=0)
    taken = speed.code_all(matrix)
    zstd = taken["zstd"].encoding[0]
    copying = copied_weights_per_second()
    for code in CODES:
        encoding, decoding = (
            statistics.median(seconds) for seconds in (taken[code].encoding, taken[code].decoding)
        )
        yield Bar(f"{code}: encoding, x Zstandard level 19", zstd / encoding, 5)
        least = 0.1 if code != "rans" else -math.inf
        yield Bar(
            f"{code}: decoding, x copying a byte a weight",
            matrix.trits.size / decoding / copying,
            least,
        )
    for mebibytes, least in ((OUT_OF_CACHE, 1.2), (IN_CACHE, 0.5)):
        for name, ratios in speed.product_ratios(mebibytes, seed=0).items():
            bar = least if name in ("paper", "tunstall-16") else -math.inf
            yield Bar(f"{name}: product, x dense, {mebibytes} MiB", statistics.median(ratios), bar)
    for code in speed.PRODUCTS:
        yield Bar(f"{code}: product's largest error / norms", product_error(code), most=1e-5)


def copied_weights_per_second() -> float:
    """Return how fast bytes, one a weight, are copied from memory to memory."""
    weights = np.ones(COPIED, np.uint8)
    copy, seconds = np.zeros_like(weights), []
    for _ in range(speed.ROUNDS):
        start = time.thread_time()
        np.copyto(copy, weights)
        seconds.append(time.thread_time() - start)
    return COPIED / statistics.median(seconds)


def product_error(code: container.Code) -> float:
    """Return the largest error of a product, as a share of the norms of its row and its vector."""
    matrix = ternary((64, 4096), "mostly zeros")
    x = np.random.default_rng(0).standard_normal(4096).astype(np.float32)
    values = matrix.values().astype(np.float64)
    error = np.abs(container.encode(matrix, code).product(x) - values @ x)
    return float((error / np.linalg.norm(values, axis=1) / np.linalg.norm(x)).max())


def compression() -> Iterator[Bar]:
    """Yield what compressing the experts costs, from a run of the study."""
    result = study_result()
    by_clip = {
        curve.variant: dict(curve.points)
        for curve in result.series
        if curve.name == "loss increase by clip"
    }
    rtn, gptq = by_clip["rtn"][1.0], by_clip["gptq"][1.0]
    yield Bar("loss increase, GPTQ / round-to-nearest, paper's grid", gptq / rtn, most=0.35)
    matched = result.value("matched loss ratio", "gptq")
    yield Bar("the same at the same entropy", matched, most=0.5)
    zeroed = result.value("loss increase", "experts zeroed")
    yield Bar("loss increase, GPTQ / experts zeroed, paper's grid", gptq / zeroed, most=0.05)
    total = result.value("bits per weight", "gptq", code="tunstall-16")
    yield Bar("GPTQ's bits per expert weight in our code, metadata included", total, most=1)
    yield Bar("loss increase there, nats", result.value("loss increase", "gptq"), most=0.08)
    paper = result.value("bits per weight", "gptq", code="paper")
    yield Bar("bits per expert weight in our code / in the paper's", total / paper, most=1)


def study_result() -> Result:
    """Return the result of the study's preset "quick", run as the site runs it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-m", "casestudies.lab", "run", "qmoe", "--device", "cpu"]
        subprocess.run([*command, "--json", str(path)], stdout=subprocess.DEVNULL, check=True)
        result = STUDIES["qmoe"].read(json.loads(path.read_text(encoding="utf-8")))
    print(result.verdict)
    return result


if __name__ == "__main__":
    sys.exit(main())
