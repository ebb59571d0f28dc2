"""A small model that is trained in the run, and prompts of text that it was not trained on."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.data.text import Corpus
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.train import loop

VOCABULARY, TRAINED_WINDOW = 1024, 64


class Size(NamedTuple):
    """Width and blocks of a model, and the steps that it is trained for."""

    width: int
    layers: int
    steps: int


@dataclass(frozen=True)
class Trained:
    """The model and its tokenizer."""

    model: LanguageModel
    tokenizer: Tokenizer


def trained(corpus: Corpus, size: Size, seed: int, device: str) -> Trained:
    """Return a model trained on the corpus, each step on 16 windows of 64 tokens."""
    generator = torch.Generator().manual_seed(seed)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows = text.windows(corpus.calibration, tokenizer, TRAINED_WINDOW).to(device)
    model = shapes.small(VOCABULARY, size.width, size.layers, generator, device)

    def loss_of(batch: Tensor) -> loop.Loss:
        return loop.Loss(loop.next_token_loss(model, batch))

    loop.train(
        model.parameters(),
        loss_of,
        loop.drawn(windows, generator),
        loop.Schedule(size.steps),
        lambda step, loss: None,
    )
    return Trained(model.requires_grad_(False).eval(), tokenizer)


def trained_here(size: Size, setup: Setup, report: Report) -> tuple[Corpus, Trained]:
    """Return the text of the run, which is reported, and a model trained on it."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    return corpus, trained(corpus, size, setup.seed, setup.device)


def requests(
    corpus: Corpus, tokenizer: Tokenizer, read: list[int], added: list[int], setup: Setup
) -> list[Request]:
    """Return requests with prompts and answers of these lengths, in tokens.

    Raises ValueError if the text is too short.
    """
    rows = prompts(corpus, tokenizer, read, setup.seed)
    return [Request(row.to(setup.device), n) for row, n in zip(rows, added, strict=True)]


def prompts(corpus: Corpus, tokenizer: Tokenizer, lengths: list[int], seed: int) -> list[Tensor]:
    """Return pieces of the corpus's evaluation text (T), one of each length.

    Raises ValueError if the text is too short.
    """
    windows = text.windows(corpus.evaluation, tokenizer, max(lengths))
    rows = text.sample(windows, len(lengths), seed)
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]
