"""Perplexity: how many tokens, on average, the model hesitates between."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models.language_model import LanguageModel


@torch.inference_mode()
def perplexity(model: LanguageModel, windows: Tensor) -> float:
    """Return exp of the mean negative log-likelihood of every token but the first of each window.

    `windows` (count, length) are tokens on the model's device; each window is read by itself.
    """
    total = 0.0
    for window in windows:
        # One window at a time: the logits of a large vocabulary are the largest tensor of all.
        logits = model(window[None, :-1])[0]
        total += F.cross_entropy(logits.float(), window[1:], reduction="sum").item()
    return math.exp(total / (windows.shape[0] * (windows.shape[1] - 1)))
