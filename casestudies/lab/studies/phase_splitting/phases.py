"""Two machines that really serve: both phases on each, or one phase on each and a link between.

Everything here runs on a rank; `study.py` starts the ranks. Requests really come, and what is sent
may be used when the emulated link would have carried it.

Shapes in comments: T tokens, L layers, K key-value heads, D head width.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from casestudies.lab.distributed.link import Link
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Config, LanguageModel
from casestudies.lab.serving.engine import Pass
from casestudies.lab.serving.engine import Work as Reads
from casestudies.lab.serving.selective import Piece, read
from casestudies.lab.studies.phase_splitting.claims import MIXED, SPLIT

MACHINES = 2
ALONE = 8  # requests that are served one by one first


@dataclass(frozen=True)
class Work:
    """A model, prompts (T) with the tokens to be added to each, and when each comes.

    The unit of the moments is the mean time of a request alone.
    """

    config: Config
    weights: dict[str, NDArray[np.float32]]
    prompts: list[NDArray[np.int64]]
    tokens: list[int]
    moments: list[float]
    slots: int
    rate: float  # of the link, in bytes a second

    def model(self) -> LanguageModel:
        """Return the model."""
        model = LanguageModel(self.config, tied=True)
        model.load_state_dict({n: torch.from_numpy(a) for n, a in self.weights.items()})
        return model.requires_grad_(False).eval()


@dataclass(eq=False)
class Text:
    """A request on its way: what is to be read next, and when its tokens were there."""

    number: int
    ready: float
    unread: Tensor
    left: int
    cache: KeyValueCache
    said: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


# Texts as they come; after the last None, or why no more of them come.
Coming = SimpleQueue[Text | Exception | None]


class Served(NamedTuple):
    """What a rank added, by request: tokens and when each was there; its passes; bytes sent."""

    said: dict[int, list[int]]
    times: dict[int, list[float]]
    passes: list[Pass]
    sent: int


class Found(NamedTuple):
    """The seconds of a request alone, the unit of the trace, and what each round served."""

    unit: float
    rounds: list[dict[str, Served]]


@torch.inference_mode()
def serve_rounds(work: Work, rounds: int) -> Found:
    """Return what this rank served in each round, in both ways in turn."""
    model = work.model()
    ways = {MIXED: serve_mixed, SPLIT: serve_split}
    for serve in ways.values():
        serve(work, model, 0.0)  # what is only done the first time is not counted
    unit = _seconds_alone(work, model)
    return Found(
        unit,
        [{name: serve(work, model, unit) for name, serve in ways.items()} for _ in range(rounds)],
    )


def _seconds_alone(work: Work, model: LanguageModel) -> float:
    """Return the mean seconds of some requests one by one, as the first rank found them."""
    start = _together()
    for number in range(min(ALONE, len(work.prompts))):
        coming: Coming = SimpleQueue()
        coming.put(_text(work, number, start))
        coming.put(None)
        _generate(model, coming, 1, start)
    spent = (time.monotonic() - start) / min(ALONE, len(work.prompts))
    found = torch.tensor([spent], dtype=torch.float64)
    dist.broadcast(found, 0)
    return found.item()


def serve_mixed(work: Work, model: LanguageModel, unit: float) -> Served:
    """Serve every other request on this rank, both phases."""
    coming: Coming = SimpleQueue()
    start = _together()
    for number in range(dist.get_rank(), len(work.prompts), MACHINES):
        coming.put(_text(work, number, start + unit * work.moments[number]))
    coming.put(None)
    return _generate(model, coming, work.slots, start)


def serve_split(work: Work, model: LanguageModel, unit: float) -> Served:
    """Read prompts on the first rank, and add tokens after the first on the other."""
    start = _together()
    if dist.get_rank() == 0:
        return _read_prompts(work, model, start, unit)
    coming: Coming = SimpleQueue()
    receiving = Thread(target=_receive, args=(work, coming, start), daemon=True)
    receiving.start()
    served = _generate(model, coming, work.slots, start)
    receiving.join()
    return served


def _together() -> float:
    dist.barrier()
    return time.monotonic()


def _text(work: Work, number: int, ready: float) -> Text:
    prompt = torch.from_numpy(work.prompts[number])
    room = len(prompt) + work.tokens[number]
    cache = KeyValueCache(work.config, 1, room)
    return Text(number, ready, prompt, work.tokens[number], cache)


def _read_prompts(work: Work, model: LanguageModel, start: float, unit: float) -> Served:
    """Read the prompts one by one; send keys, values and the first token after each."""
    link = Link(work.rate)
    served, sent = Served({}, {}, [], 0), list[tuple[Any, Tensor]]()
    total = 0
    for number, moment in enumerate(work.moments):
        text = _text(work, number, start + unit * moment)
        time.sleep(max(0.0, text.ready - time.monotonic()))
        _add(model, [text], served.passes, start)
        served.said[number], served.times[number] = text.said, text.times
        if text.left:
            held = text.cache.held.contiguous()
            total += held.nbytes
            carried = link.arrival(held.nbytes, time.monotonic())
            head = torch.tensor([carried - start, text.said[0]], dtype=torch.float64)
            sent += [(dist.isend(one, 1), one) for one in (held, head)]
    for sending, _ in sent:
        sending.wait()
    return served._replace(sent=total)


def _receive(work: Work, coming: Coming, start: float) -> None:
    """Put what the first rank sends where those who wait stand, with the moment it has come."""
    try:
        for number, tokens in enumerate(work.tokens):
            if tokens > 1:
                coming.put(_received(work, number, start))
        coming.put(None)
    except Exception as error:  # noqa: BLE001 - raised where the text is waited for
        coming.put(error)


def _received(work: Work, number: int, start: float) -> Text:
    text, config = _text(work, number, 0.0), work.config
    shape = (config.layers, 1, config.key_value_heads, len(text.unread))
    held = torch.empty(2, *shape, config.width // config.heads)  # 2, L, 1, K, T, D
    head = torch.empty(2, dtype=torch.float64)
    dist.recv(held, 0)
    dist.recv(head, 0)
    for layer, (key, value) in enumerate(zip(*held, strict=True)):
        text.cache.extend(layer, key, value)
    text.cache.advance(len(text.unread))
    after, token = head.tolist()
    text.ready, text.left = start + after, text.left - 1
    text.unread = torch.tensor([int(token)])
    return text


def _next(coming: Coming) -> Text | None:
    """Return the text that comes next, None after the last; raise why no more of them come."""
    found = coming.get()
    if isinstance(found, Exception):
        raise found
    return found


def _generate(model: LanguageModel, coming: Coming, slots: int, start: float) -> Served:
    """Add tokens, pass by pass, to the texts that have come, first come, first served."""
    served = Served({}, {}, [], 0)
    waiting, present, more = deque[Text](), list[Text](), True
    while more or waiting or present:
        # It waits for what comes only where there is nothing else to do.
        while more and not (coming.empty() and (waiting or present)):
            text = _next(coming)
            if text is None:
                more = False
            else:
                waiting.append(text)
        if waiting and not present:
            time.sleep(max(0.0, waiting[0].ready - time.monotonic()))
        while waiting and len(present) < slots and waiting[0].ready <= time.monotonic():
            present.append(waiting.popleft())
        if present:
            _add(model, present, served.passes, start)
        for text in present:
            if not text.left:
                served.said[text.number], served.times[text.number] = text.said, text.times
        present = [text for text in present if text.left]
    return served


def _add(model: LanguageModel, texts: Sequence[Text], passes: list[Pass], start: float) -> None:
    """Add a token to each of the texts in one pass."""
    begin = time.monotonic()
    new = [len(text.unread) for text in texts if not text.cache.length]
    work = Reads(len(texts), sum(new), sum(text.cache.length for text in texts))
    found = read(model, [Piece(text.unread, text.cache) for text in texts]).argmax(-1)
    tokens = found.tolist()
    now = time.monotonic()
    passes.append(Pass(work, now - begin))
    for text, token in zip(texts, tokens, strict=True):
        text.said.append(token)
        text.times.append(now - start)
        text.left -= 1
        text.unread = found.new_tensor([token])
