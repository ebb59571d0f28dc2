"""How many hours GPTQ takes for a model of OPT-175B's shape: 96 times those of one block."""

from collections.abc import Sequence

from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.kernels import attempting
from casestudies.lab.measure.environment import lacking_memory
from casestudies.lab.quantize import opt_block
from casestudies.lab.quantize.gptq import gptq
from casestudies.lab.quantize.quantized import Format
from casestudies.lab.report import Report
from casestudies.lab.studies.quantization.about import QuantizationParameters
from casestudies.lab.studies.quantization.claims import QUANTIZATION_TIME


def by_gptq(bits: int, group: int, damping: float) -> opt_block.Method:
    """Return what rounds weights in groups, or in whole rows for a group of 0."""

    def rounded(weights: Sequence[Tensor], gram: Tensor) -> list[Tensor]:
        columns = len(gram)
        form = Format(bits, min(group or columns, columns))
        return [matrix.weights() for matrix in gptq(weights, gram, form, damping)]

    return rounded


def report_hours(parameters: QuantizationParameters, setup: Setup, report: Report) -> None:
    """Report the hours of all blocks where a GPU holds one, in the run's bits and groups.

    Elsewhere, and for a run that rounds only some blocks, say why not.
    """
    p = parameters
    reason = lacking_memory(setup.device, opt_block.NEEDED_GPU_GIB)
    if p.blocks:
        reason = "this run rounds only some blocks"
    if reason:
        report.log(f"No block of OPT-175B’s shape was rounded: {reason}")
        return
    method = by_gptq(int(p.bits), p.group, p.damping)
    with attempting("GPTQ of a block of OPT-175B’s shape", report.log):
        cost = opt_block.measured(method, setup.device, setup.seed)
        report.precision = f"{report.precision}; OPT-175B’s block in bfloat16"
        report.measure(QUANTIZATION_TIME, "gptq", opt_block.BLOCKS * cost.seconds / 3600)
        report.log(
            f"GPTQ, {p.bits} bits: a block of OPT-175B’s shape took {cost.seconds:.1f} s and"
            f" {cost.peak_mib / 1024:.1f} GiB"
        )
