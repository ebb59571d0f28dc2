"""The two models whose weights and activations are rounded, and one of them being trained."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.measure.cost import Measured
from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.models import shapes
from casestudies.lab.models.files import Pretrained
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.quantize import layerwise
from casestudies.lab.quantize.quantized import Format
from casestudies.lab.report import Stage
from casestudies.lab.studies.quantization.about import QuantizationParameters
from casestudies.lab.studies.quantization.methods import Method
from casestudies.lab.train import loop

VOCABULARY = 1024


@dataclass(frozen=True)
class RoundedModel:
    """What one way to round the weights left; sizes are those of the bytes as written."""

    perplexity: float
    bits: float  # of a weight
    error: float  # mean over layers
    cost: Measured


class Bench:
    """A model with its unrounded weights at hand, and its texts, on one device."""

    def __init__(
        self, model: LanguageModel, calibration: Tensor, evaluation: Tensor, blocks: int
    ) -> None:
        self.model, self.calibration, self.evaluation = model, calibration, evaluation
        self.blocks = min(blocks or len(model.blocks), len(model.blocks))
        self.linears = {
            name: linear
            for name, linear in model.linears().items()
            if int(name.split(".")[0]) < self.blocks
        }
        self.weights = {name: linear.weight.clone() for name, linear in self.linears.items()}

    def rounded_blocks(self) -> list[Block]:
        """Return the blocks whose linear layers are rounded."""
        return cast(list[Block], list(self.model.blocks)[: self.blocks])

    def sharing_inputs(self) -> Iterator[tuple[nn.Linear, ...]]:
        """Yield those linear layers that are rounded, together where they read the same."""
        for b in self.rounded_blocks():
            yield from [(b.query, b.key, b.value), (b.output,), (b.gate, b.up), (b.down,)]

    def restore(self) -> None:
        """Give the linear layers their unrounded weights."""
        for name, linear in self.linears.items():
            linear.weight.copy_(self.weights[name])

    def perplexity(self) -> float:
        """Return that of the model as it now is."""
        return perplexity(self.model, self.evaluation)

    def perplexity_in_bfloat16(self) -> float:
        """Return that of the model with all its weights in bfloat16, computed in float32.

        So all that is rounded here is computed; a processor that has no bfloat16 emulates it.
        """
        self.restore()
        return perplexity(copy.deepcopy(self.model).bfloat16().float(), self.evaluation)

    def rounded(self, write: Method, form: Format, fitted: bool) -> RoundedModel:
        """Give the linear layers weights read back from the bytes of a method; return what is left.

        A form whose group is 0 has whole rows. Methods that are not fitted look at no text.
        """
        self.restore()
        written = 0
        errors: list[float] = []

        def round_them(weights: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
            nonlocal written
            columns = weights[0].shape[1]
            found = write(weights, inputs, Format(form.bits, min(form.group or columns, columns)))
            written += found.size
            return found.weights

        def observe(name: str, old: Tensor, new: Tensor, inputs: Sequence[Tensor]) -> None:
            errors.append(layerwise.relative_error(old, new, inputs))

        # One window serves to measure the error of what is not fitted.
        windows = self.calibration if fitted else self.calibration[:1]
        with Measured(windows.device.type) as cost:
            layerwise.compress(self.model, windows, round_them, self.blocks, observe)
        number = sum(weight.numel() for weight in self.weights.values())
        return RoundedModel(
            self.perplexity(), 8 * written / number, sum(errors) / len(errors), cost
        )


def pretrained(
    found: Pretrained, corpus: text.Corpus, parameters: QuantizationParameters, setup: Setup
) -> Bench:
    """Return the bundled model, or the reader's. Raises ValueError if the text is too short."""
    p = parameters
    calibration, evaluation = (
        text.windows(documents, found.tokenizer, p.window)
        for documents in (corpus.calibration, corpus.evaluation)
    )
    return Bench(
        found.model,
        text.sample(calibration, p.calibration_windows, setup.seed).to(setup.device),
        text.spaced(evaluation, p.evaluation_windows).to(setup.device),
        p.blocks,
    )


def trained(
    corpus: text.Corpus, parameters: QuantizationParameters, setup: Setup, stage: Stage
) -> Bench:
    """Return a small model trained on the corpus. Raises ValueError if the text is too short."""
    p, generator = parameters, torch.Generator().manual_seed(setup.seed)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows, evaluation = (
        text.windows(documents, tokenizer, p.trained_window).to(setup.device)
        for documents in (corpus.calibration, corpus.evaluation)
    )
    model = shapes.small(tokenizer.get_vocab_size(), p.width, p.layers, generator, setup.device)

    def loss_of(batch: Tensor) -> loop.Loss:
        return loop.Loss(loop.next_token_loss(model, batch))

    def observe(step: int, loss: float) -> None:
        if step % max(1, p.steps // 50) == 0:
            stage.at(step / p.steps, f"step {step} of {p.steps}")

    batches = loop.drawn(windows, generator)
    loop.train(model.parameters(), loss_of, batches, loop.Schedule(p.steps), observe)
    return Bench(
        model.requires_grad_(False),
        text.sample(windows, p.trained_calibration_windows, setup.seed),
        text.spaced(evaluation, p.trained_evaluation_windows),
        0,
    )
