"""Compile every kernel as equalities and studies launch it, for a GPU that need not be here.

The argument is the compute capability, such as 90.
Prints a JSON list: what, kernel, compute capability, registers of a thread, bytes of shared memory
of a program and bytes that a thread spills. A process of its own, since Triton decides when it is
imported whether it interprets.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction

from casestudies.lab.kernels import equalities
from tests.lab.kernels.launched import launches

NEWER = 90
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


class Absent:
    """A device that code is compiled for and that nothing runs on."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return self.capability

    def get_current_stream(self, device: int) -> int:
        return 0


def main(capability: int) -> None:
    compiled: dict[str, Any] = {}
    run = JITFunction.run

    def compile_only(self, *args, grid, warmup, **options):
        kernel = run(self, *args, grid=grid, warmup=True, **options)
        compiled[kernel.hash] = kernel

    JITFunction.run = compile_only
    driver.set_active(Absent(capability))
    found, known = [], set()
    # What studies launch is more of the same, and compiled for the newer of the two alone.
    for what, launch in chain(held(), launches() if capability == NEWER else ()):
        compiled.clear()
        # What was never computed may be as wrong as it likes.
        with contextlib.suppress(ArithmeticError, IndexError):
            launch()
        for name, kernel in compiled.items():
            if name not in known:
                found.append({"what": what, **resources(kernel, capability)})
                known.add(name)
    json.dump(found, sys.stdout)


def held() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what each equality is, and what launches its kernels."""
    for equality in equalities():
        yield equality.what, partial(equality.apart, "cpu")


def resources(kernel: Any, capability: int) -> dict[str, Any]:
    """Return what a program of the compiled kernel takes."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [str(CUOBJDUMP), "--dump-resource-usage", file.name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    numbers = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", said))
    return {
        "kernel": kernel.name,
        "capability": capability,
        "registers": int(numbers["REG"]),
        "shared": kernel.metadata.shared,
        "spilled": int(numbers["STACK"]) + int(numbers["LOCAL"]),
    }


if __name__ == "__main__":
    torch.manual_seed(0)
    main(int(sys.argv[1]))
