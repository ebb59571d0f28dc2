"""`python -m benchmarks.serving`: our serving engine beside transformers' continuous batching.

The same weights, requests, slots, threads and precision, in alternating rounds, everyone waiting
from the start. It needs benchmarks/requirements-peers.txt, which `make bench` installs; without, it
says so and returns 2. It takes about five minutes.
"""

import statistics
import sys
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.bars import Bar, all_reached, without_peers
from casestudies.lab.data import text
from casestudies.lab.measure.rounds import Runs, alternately, ratios
from casestudies.lab.models import files
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.serving.arrivals import Request, lengths
from casestudies.lab.serving.carrying import ModelPasses
from casestudies.lab.serving.engine import serve
from casestudies.lab.serving.policies import iteration_level

REQUESTS, SLOTS, ROUNDS = 24, 8, 5
PROMPT, ADDED = (16, 96), (8, 64)  # tokens, from the shortest to the longest
BLOCK = 32  # tokens of a block of the peer's cache; its least
PEER = "transformers, continuous batching"


def main() -> int:
    """Print the bars and return 1 where ours is slower than its peer or says other tokens."""
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging
    except ImportError:
        return without_peers()
    logging.set_verbosity_error()
    file = files.bundled_model()
    theirs = AutoModelForCausalLM.from_pretrained(
        str(file.parent), gguf_file=file.name, dtype=torch.float32
    )
    theirs.generation_config.eos_token_id = None  # an answer is as long as it was asked for
    found = files.load()
    said: dict[str, list[list[int]]] = {}
    runs = compared(found.model, theirs, requests_of(found.tokenizer), said)
    faster = ratios(alternately(runs, ROUNDS), to=PEER)
    print(f"{REQUESTS} requests, {SLOTS} slots, {torch.get_num_threads()} threads, float32")
    return int(not all_reached(bars(said, faster)))


def bars(said: dict[str, list[list[int]]], faster: dict[str, list[float]]) -> list[Bar]:
    """Return how fast each way is, as a multiple of the peer's, and whether it says the same."""
    return [
        *(
            Bar(f"{name}: tokens are those of its peer", float(tokens == said[PEER]), least=1)
            for name, tokens in said.items()
        ),
        Bar("engine, x its peer's speed", statistics.median(faster["engine"]), least=1),
        Bar("padded batches, x its speed", statistics.median(faster["padded batches"])),
    ]


def requests_of(tokenizer: Any) -> list[Request]:
    """Return prompts of real text and for how many tokens each asks."""
    drawn = torch.Generator().manual_seed(0)
    prompts = lengths(REQUESTS, *PROMPT, "uniform", drawn)
    asked = lengths(REQUESTS, *ADDED, "heavy tail", drawn)
    windows = text.windows(text.corpus().evaluation, tokenizer, PROMPT[1])
    return [
        Request(window[:length], tokens)
        for window, length, tokens in zip(windows, prompts, asked, strict=False)
    ]


def compared(
    ours: LanguageModel, theirs: Any, requests: Sequence[Request], said: dict[str, list[list[int]]]
) -> Runs:
    """Return ways to serve the requests; each leaves in `said` what was answered."""

    def engine() -> None:
        jobs = serve(requests, SLOTS, iteration_level, ModelPasses(ours)).jobs
        said["engine"] = [job.said for job in jobs]

    def peer() -> None:
        said[PEER] = _continuous(theirs, requests)

    def padded() -> None:
        said["padded batches"] = _padded(theirs, requests)

    return {PEER: peer, "engine": engine, "padded batches": padded}


def _continuous(model: Any, requests: Sequence[Request]) -> list[list[int]]:
    from transformers import ContinuousBatchingConfig

    most = PROMPT[1] + ADDED[1]
    config = ContinuousBatchingConfig(
        page_size=BLOCK,
        num_blocks=SLOTS * -(-most // BLOCK),
        max_batch_tokens=SLOTS * PROMPT[1],
        max_requests_per_batch=SLOTS,
        auto_switch_to_flash=False,
    )
    with model.continuous_batching_context_manager(continuous_batching_config=config) as manager:
        names = [
            manager.add_request(request.prompt.tolist(), max_new_tokens=request.tokens)
            for request in requests
        ]
        answers: dict[str, list[int]] = {}
        while len(answers) < len(names):
            answer = manager.get_result(timeout=60)
            if answer is None or answer.error:
                raise RuntimeError(f"transformers gave no answer: {answer and answer.error}")
            if answer.is_finished():
                answers[answer.request_id] = answer.generated_tokens
    return [answers[name] for name in names]


@torch.inference_mode()
def _padded(model: Any, requests: Sequence[Request]) -> list[list[int]]:
    """Return what `generate` answers to batches in the order of arrival, padded on the left."""
    answers = []
    for start in range(0, len(requests), SLOTS):
        batch = requests[start : start + SLOTS]
        longest = max(len(request.prompt) for request in batch)
        tokens = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for row, request in enumerate(batch):
            tokens[row, longest - len(request.prompt) :] = request.prompt
            mask[row, longest - len(request.prompt) :] = 1
        added = max(request.tokens for request in batch)
        found = model.generate(
            tokens, attention_mask=mask, max_new_tokens=added, min_new_tokens=added, do_sample=False
        )
        rows = zip(found[:, longest:].tolist(), batch, strict=True)
        answers += [row[: request.tokens] for row, request in rows]
    return answers


if __name__ == "__main__":
    sys.exit(main())
