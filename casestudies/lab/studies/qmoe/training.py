"""Trains the tokenizer and the model that the study then compresses."""

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from casestudies.lab.data.text import Document
from casestudies.lab.studies.qmoe.model import SwitchModel

BATCH = 16
PEAK_RATE, WARM_UP, LAST_RATE = 2e-3, 0.1, 0.1  # the last two as shares of steps and of the peak
EVENNESS = 0.01  # weight of the experts' unevenness in the loss
LONGEST_GRADIENT = 1.0


def train_tokenizer(documents: Iterable[Document], vocabulary: int) -> Tokenizer:
    """Return a byte-pair tokenizer of at most `vocabulary` tokens, fitted to the documents."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((document.text for document in documents), trainer)
    return tokenizer


def train(
    model: SwitchModel,
    windows: Tensor,
    steps: int,
    generator: torch.Generator,
    observe: Callable[[int, float], None],
) -> None:
    """Train on batches drawn from `windows` (count, length); `observe` each step and its loss."""
    optimizer = torch.optim.AdamW(
        model.parameters(), PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.01, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step / steps))
    for step in range(steps):
        rows = torch.randint(len(windows), (BATCH,), generator=generator)
        batch = windows[rows.to(windows.device)]
        logits, unevenness = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        (loss + EVENNESS * unevenness).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        observe(step + 1, loss.item())


def rate(done: float) -> float:
    """Return the learning rate's share of its peak: up in a line, then down a cosine."""
    if done < WARM_UP:
        return (done + 0.01) / (WARM_UP + 0.01)
    fall = (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
    return LAST_RATE + (1 - LAST_RATE) * fall
