"""What a request gets by itself, and whether it gets the same in company."""

import operator
from collections.abc import Sequence
from itertools import takewhile

import torch

from casestudies.lab.generate.continuation import continued, with_cache
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.engine import Served


def answer(model: LanguageModel, request: Request) -> list[int]:
    """Return the tokens that the request gets by itself, by the lab's plain continuation."""
    prompt = request.prompt[None]
    cache = with_cache(model, prompt, request.tokens)
    return torch.cat(list(continued(model, prompt, request.tokens, cache)), dim=1)[0].tolist()


def same_share(served: Served, alone: Sequence[Sequence[int]]) -> float:
    """Return the share of tokens that are those of the requests alone, up to the first other."""
    same = sum(
        len(list(takewhile(bool, map(operator.eq, job.said, tokens))))
        for job, tokens in zip(served.jobs, alone, strict=True)
    )
    return same / served.tokens


def same_tokens(share: float) -> str:
    """Return how a sentence begins that says which share of the tokens is the same."""
    return "The same tokens" if share == 1 else f"{100 * share:.1f} % of the tokens are the same"
