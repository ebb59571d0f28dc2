"""`python -m benchmarks.baselines`: our model beside that of transformers, on the same weights.

A weak baseline makes an effect a lie, so what studies compare with must be about as fast as what
people use. It needs benchmarks/requirements-peers.txt, which `make bench` installs; without, it
says so and returns 2. It takes about two minutes.
"""

import statistics
import sys
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.bars import Bar, all_reached, without_peers
from casestudies.lab.data import text
from casestudies.lab.generate.continuation import continued, with_cache
from casestudies.lab.measure.rounds import Runs, alternately, ratios
from casestudies.lab.models import files
from casestudies.lab.models.language_model import LanguageModel

PROMPT, TOKENS, PREFILL, TRAINED = 64, 32, 256, 128
ROUNDS = 9
SLOWEST = 1.10  # times what transformers takes


def main() -> int:
    """Print what both take and return 1 where ours is too slow or says other tokens."""
    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        return without_peers()
    file = files.bundled_model()
    theirs = AutoModelForCausalLM.from_pretrained(
        str(file.parent), gguf_file=file.name, dtype=torch.float32
    )
    found = files.load()
    tokens = text.windows(text.corpus().evaluation, found.tokenizer, PREFILL)[:1]
    return int(not all_reached(bars(found.model, theirs, tokens)))


def bars(ours: LanguageModel, theirs: Any, tokens: Tensor) -> Iterator[Bar]:
    """Yield whether both add the same tokens, and how long ours takes, as a multiple of theirs."""
    prompt = tokens[:, :PROMPT]
    same = _continued(ours, prompt).equal(_generated(theirs, prompt)[:, PROMPT:])
    yield Bar(f"{TOKENS} added tokens are the same", float(same), least=1)
    cases: dict[str, Runs] = {
        f"adding {TOKENS} tokens to {PROMPT} with a cache": {
            "theirs": lambda: _generated(theirs, prompt),
            "ours": lambda: _continued(ours, prompt),
        },
        f"reading {PREFILL} tokens": {
            "theirs": lambda: _logits(theirs, tokens),
            "ours": lambda: _ours(ours, tokens),
        },
        f"a training step of {TRAINED} tokens, without the optimizer": {
            "theirs": lambda: _step(theirs, lambda x: theirs(x).logits, tokens),
            "ours": lambda: _step(ours, ours, tokens),
        },
    }
    for name, runs in cases.items():
        faster = ratios(alternately(runs, ROUNDS), to="theirs")["ours"]
        yield Bar(f"{name}, x transformers'", 1 / statistics.median(faster), most=SLOWEST)


def _continued(model: LanguageModel, prompt: Tensor) -> Tensor:
    return torch.cat(list(continued(model, prompt, TOKENS, with_cache(model, prompt, TOKENS))), 1)


@torch.inference_mode()
def _generated(model: Any, prompt: Tensor) -> Tensor:
    found: Tensor = model.generate(
        prompt, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False
    )
    return found


@torch.inference_mode()
def _logits(model: Any, tokens: Tensor) -> Tensor:
    found: Tensor = model(tokens, logits_to_keep=1).logits
    return found


@torch.inference_mode()
def _ours(model: LanguageModel, tokens: Tensor) -> Tensor:
    return model.logits(model.hidden(tokens)[:, -1:])


def _step(model: torch.nn.Module, logits_of: Any, tokens: Tensor) -> None:
    """Go forward and back through all weights, and forget the gradients."""
    model.requires_grad_(True)
    batch = tokens[:, : TRAINED + 1]
    logits = logits_of(batch[:, :-1])
    F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
    model.zero_grad(set_to_none=True)


if __name__ == "__main__":
    sys.exit(main())
