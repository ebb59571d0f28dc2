"""What a device must compute as a CPU does in float64, on random weights, each with a tolerance.

The parts are those that studies share, and the solvers of SparseGPT and QMoE. No model is read.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor

from casestudies.lab.generate.continuation import continued, with_cache
from casestudies.lab.measure.equality import Equality, differing, relative
from casestudies.lab.models import attention, shapes
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.language_model import Config
from casestudies.lab.quantize import columns, hessian
from casestudies.lab.quantize.gptq import gptq
from casestudies.lab.quantize.quantized import Format, rounded
from casestudies.lab.studies.fused_attention import tiled
from casestudies.lab.studies.sparsegpt import masks, solver

CONFIG = Config(512, 192, 512, 3, 6, 2, 10_000.0, 1e-5)
ROWS, COLUMNS, SAMPLES = 96, 256, 1024
DAMPING = 0.01


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + sum(shape)))


def _layer() -> tuple[Tensor, Tensor]:
    """Return weights (rows, columns) and the Gram matrix of inputs whose columns are alike."""
    inputs = _random(SAMPLES, COLUMNS) @ (_random(COLUMNS, COLUMNS) / 16 + torch.eye(COLUMNS))
    return _random(ROWS, COLUMNS), hessian.gram([inputs])


def _attention(way: Attention) -> Callable[[str], float]:
    def apart(device: str) -> float:
        q, k, v = _random(1, 6, 333, 64), _random(1, 2, 333, 64), _random(1, 2, 333, 64).flip(2)
        exact = attention.naive(q.double(), k.double(), v.double())
        return relative(way(q.to(device), k.to(device), v.to(device)), exact)

    return apart


@torch.inference_mode()
def _logits(device: str) -> float:
    model = shapes.with_random_weights(CONFIG, torch.Generator().manual_seed(0))
    tokens = torch.arange(2 * 48).view(2, 48) * 7 % CONFIG.vocabulary
    exact = deepcopy(model).double()(tokens)
    return relative(model.to(device)(tokens.to(device)), exact)


def _tokens_with_a_cache(device: str) -> float:
    model = shapes.with_random_weights(CONFIG, torch.Generator().manual_seed(0)).eval()
    prompt = torch.arange(2 * 16).view(2, 16) * 5 % CONFIG.vocabulary
    exact = torch.cat(list(continued(deepcopy(model).double(), prompt, 24)), dim=1)
    model, prompt = model.to(device), prompt.to(device)
    cache = with_cache(model, prompt, 24)
    return differing(torch.cat(list(continued(model, prompt, 24, cache)), dim=1), exact)


def _gram(device: str) -> float:
    inputs = _random(SAMPLES, COLUMNS)
    return relative(hessian.gram([inputs.to(device)]), hessian.gram([inputs.double()]))


def _inverse_factor(device: str) -> float:
    _, gram = _layer()
    exact = hessian.inverse_factor(gram.double(), DAMPING)
    return relative(hessian.inverse_factor(gram.to(device), DAMPING), exact)


def _columns(device: str) -> float:
    """Halve every column: a change without a jump, so that differences stay small."""
    weights, gram = _layer()

    def halved(w: Tensor, g: Tensor) -> Tensor:
        w = w.T.contiguous()
        columns.change(w, hessian.inverse_factor(g, DAMPING), 128, lambda i, column: column / 2)
        return w

    return relative(halved(weights.to(device), gram.to(device)), halved(*_double(weights, gram)))


def _rounded(device: str) -> float:
    weights, _ = _layer()
    form = Format(4, 64)
    return differing(rounded(weights.to(device), form).codes, rounded(weights.double(), form).codes)


def _gptq(device: str) -> float:
    weights, gram = _layer()
    form = Format(4, 64)
    (exact,) = gptq([weights.double()], gram.double(), form)
    (found,) = gptq([weights.to(device)], gram.to(device), form)
    return differing(found.codes, exact.codes)


def _sparsegpt(pattern: str) -> Callable[[str], float]:
    def apart(device: str) -> float:
        weights, gram = _layer()
        settings = solver.Settings(masks.parse(pattern, 0.5))
        (exact,) = solver.prune([weights.double()], gram.double(), settings)
        (found,) = solver.prune([weights.to(device)], gram.to(device), settings)
        return differing(found == 0, exact == 0)

    return apart


def _experts_gptq(device: str) -> float:
    from casestudies.lab.studies.qmoe.gptq import quantize

    weights = _random(4, 64, 128)
    grams = torch.stack([hessian.gram([x]) for x in _random(4, 512, 128)])
    tokens = torch.full((4,), 512)
    exact = quantize(*_double(weights, grams), tokens, 1.0, 0.1)
    found = quantize(weights.to(device), grams.to(device), tokens.to(device), 1.0, 0.1)
    return differing(torch.from_numpy(found.ternary.trits), torch.from_numpy(exact.ternary.trits))


def _decoded_product(device: str) -> float:
    """Round and code on the device's weights, and multiply from the code."""
    from casestudies.lab.studies.qmoe.codes import container
    from casestudies.lab.studies.qmoe.grid import round_to_nearest

    weights, x = _random(ROWS, COLUMNS), _random(COLUMNS)
    values, ternary = round_to_nearest(weights.to(device), 1.0)
    decoded = container.unpack(container.pack(ternary, "paper"))
    exact, _ = round_to_nearest(weights, 1.0)
    product = torch.from_numpy(decoded.product(x.numpy()))
    whole = relative(values @ x.to(device), exact.double() @ x.double())
    return max(whole, relative(product, exact.double() @ x.double()))


def _double(weights: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    return weights.double(), gram.double()


EQUALITIES = (
    Equality("attention: definition", 1e-5, _attention(attention.naive)),
    Equality("attention: stock", 1e-5, _attention(attention.stock)),
    Equality("attention: tiles", 1e-5, _attention(tiled.with_tile(64))),
    Equality("language model: logits", 1e-5, _logits),
    Equality("language model: tokens with a cache, and without", 0, _tokens_with_a_cache),
    Equality("Gram matrix of inputs", 1e-5, _gram),
    Equality("inverse factor of a Gram matrix", 1e-4, _inverse_factor),
    Equality("columns changed one by one", 1e-4, _columns),
    Equality("rounding to nearest: codes", 1e-3, _rounded),
    Equality("GPTQ: codes", 1e-2, _gptq),
    Equality("SparseGPT, half of the weights: which are zero", 1e-2, _sparsegpt("unstructured")),
    Equality("SparseGPT, 2:4: which are zero", 1e-2, _sparsegpt("2:4")),
    Equality("QMoE, GPTQ of experts: trits", 1e-2, _experts_gptq),
    Equality("QMoE: product from the code", 1e-5, _decoded_product),
)
