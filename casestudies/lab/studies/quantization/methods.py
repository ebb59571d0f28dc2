"""The ways to write weights in few bits: what each needs, and the bytes and weights it leaves."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from casestudies.lab.quantize import nf4
from casestudies.lab.quantize.gptq import gptq
from casestudies.lab.quantize.hessian import gram
from casestudies.lab.quantize.quantized import Format, Quantized, pack, rounded, unpack
from casestudies.lab.studies.quantization.awq import awq


class Written(NamedTuple):
    """The bytes of some matrices as written, and the weights (rows, columns) read back."""

    size: int
    weights: list[Tensor]


# From the weights of layers that read the same, these inputs, and the form to write them in.
Method = Callable[[Sequence[Tensor], Sequence[Tensor], Format], Written]


def methods(damping: float) -> dict[str, Method]:
    """Return each way by its variant; damping is GPTQ's."""
    return {
        "rounded": lambda weights, inputs, form: _written([rounded(w, form) for w in weights]),
        "gptq": lambda weights, inputs, form: _written(gptq(weights, gram(inputs), form, damping)),
        "awq": _by_awq,
        "nf4": _in_nf4,
    }


FITTED = ("gptq", "awq")  # to calibration text
NF4 = Format(4, nf4.BLOCK)  # the only form that it has


def _by_awq(weights: Sequence[Tensor], inputs: Sequence[Tensor], form: Format) -> Written:
    s, matrices = awq(weights, inputs, form)
    size, scaled = _written(matrices)
    # Most of the scales could be folded into what comes before; they are counted nevertheless.
    return Written(size + s.nbytes, [weight / s.float() for weight in scaled])


def _in_nf4(weights: Sequence[Tensor], inputs: Sequence[Tensor], form: Format) -> Written:
    matrices = [nf4.quantize(weight) for weight in weights]
    read = [nf4.dequantize(m, w.shape) for m, w in zip(matrices, weights, strict=True)]
    return Written(sum(matrix.stored_bytes for matrix in matrices), read)


def _written(matrices: Sequence[Quantized]) -> Written:
    files = [pack(matrix) for matrix in matrices]
    read = [_read(data, matrix) for data, matrix in zip(files, matrices, strict=True)]
    return Written(sum(map(len, files)), read)


def _read(data: bytes, matrix: Quantized) -> Tensor:
    rows, columns = matrix.codes.shape
    return unpack(data, rows, columns, matrix.format).weights().to(matrix.codes.device)
