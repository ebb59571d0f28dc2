"""The drafts: earlier text, the model's own first blocks, and a small model distilled from it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.generate.continuation import with_cache
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.speculative_decoding.speculation import Step, Tree, drawn, read
from casestudies.lab.train import loop

LONGEST_MATCH = 3
EXIT_SHARE = 0.3  # of the early exit's loss in what the model is trained to minimize
WIDTH, RATE = 128, 5e-3  # of the distilled draft, which has one block

Observe = Callable[[int, float], None]


class PromptLookup:
    """Proposes what followed the last time that the text's last tokens stood in it.

    Saxena, 2023, "Prompt Lookup Decoding"; the longest match of three tokens, two, or one.
    """

    def tree(self, text: Sequence[int], step: Step) -> Tree:
        """Return at most so many tokens; none where nothing matches. Without q: greedy only."""
        tree = Tree([text[-1]])
        for token in self._followed(list(text), step.drafted):
            tree.add(token, len(tree.tokens) - 1)
        return tree

    def _followed(self, text: list[int], drafted: int) -> list[int]:
        for length in range(LONGEST_MATCH, 0, -1):
            tail = text[-length:]
            for start in range(len(text) - length - 1, -1, -1):
                if text[start : start + length] == tail:
                    return text[start + length : start + length + drafted]
        return []


class ModelDraft:
    """Proposes what a model says, as a chain or with several first tokens as a tree.

    It is made for one text, of which its cache has room for so many tokens, drafted ones with them.
    """

    def __init__(self, model: LanguageModel, room: int, branches: int = 1) -> None:
        self._model, self._branches = model, branches
        self._cache = with_cache(model, torch.empty(1, 0), room)
        self._known = 0  # tokens of the text that the cache holds, without drafted ones

    @torch.inference_mode()
    def tree(self, text: Sequence[int], step: Step) -> Tree:
        """Return the likeliest first tokens, each continued singly, or with a generator a chain."""
        hidden = self._read(text)
        tree, leaves, first = Tree([text[-1]]), [0], 1
        for depth in range(step.drafted):
            if depth:
                hidden = read(self._model, tree, self._cache, first)
                first = len(tree.tokens)
            logits = self._model.logits(hidden)[0]  # leaves, V
            if step.generator:
                q = logits[-1].softmax(-1)
                leaves = [tree.add(drawn(q, step.generator), leaves[0])]
                tree.q[leaves[0]] = q
            else:
                likeliest = logits.topk(1 if depth else self._branches).indices.tolist()
                pairs = zip(leaves, likeliest, strict=True)
                leaves = [tree.add(token, leaf) for leaf, tokens in pairs for token in tokens]
        return tree

    def _read(self, text: Sequence[int]) -> Tensor:
        """Read what is new of the text, in place of what was drafted; return its last (1, 1, C)."""
        known = min(self._known, len(text) - 1)
        self._cache.rewind(known)
        new = torch.tensor([text[known:]], device=self._model.embedding.weight.device)
        self._known = len(text)
        return self._model.hidden(new, self._cache)[:, -1:]


def early_exit(model: LanguageModel, blocks: int) -> LanguageModel:
    """Return the model's first blocks with its norm and head: its own weights, not copies."""
    with torch.device("meta"):
        exit = LanguageModel(replace(model.config, layers=0), tied=True)
    exit.config = replace(model.config, layers=blocks)
    exit.embedding, exit.norm, exit.head = model.embedding, model.norm, model.head
    exit.blocks = nn.ModuleList(list(model.blocks)[:blocks])
    return exit


def train_with_exit(
    model: LanguageModel,
    exit: LanguageModel,
    batches: Iterable[Tensor],
    steps: int,
    observe: Observe,
) -> None:
    """Train a model so that its first blocks can speak for it, too, as in LayerSkip.

    Elhoushi et al., 2024, "LayerSkip", with one exit and without its dropped layers.
    """

    def loss_of(batch: Tensor) -> loop.Loss:
        of_exit = loop.next_token_loss(exit, batch)
        return loop.Loss(loop.next_token_loss(model, batch), EXIT_SHARE * of_exit)

    loop.train(model.parameters(), loss_of, batches, loop.Schedule(steps), observe)
    model.eval().requires_grad_(False)


def distilled(
    model: LanguageModel,
    windows: Tensor,
    steps: int,
    generator: torch.Generator,
    observe: Observe,
) -> LanguageModel:
    """Return a small model trained to give the model's probabilities on windows of text."""
    device = model.embedding.weight.device.type
    small = shapes.small(model.config.vocabulary, WIDTH, 1, generator, device)

    def loss_of(batch: Tensor) -> loop.Loss:
        with torch.no_grad():
            p = model(batch).log_softmax(-1).flatten(0, 1)
        q = small(batch).log_softmax(-1).flatten(0, 1)
        return loop.Loss(F.kl_div(q, p, reduction="batchmean", log_target=True))

    batches, schedule = loop.drawn(windows, generator), loop.Schedule(steps, RATE)
    loop.train(small.parameters(), loss_of, batches, schedule, observe)
    return small.eval().requires_grad_(False)
