"""Speculative decoding: a draft proposes, the model checks all of it in one pass.

Leviathan, Kalman and Matias, 2022, "Fast Inference from Transformers via Speculative Decoding";
their letters: the model gives p, the draft q, and γ tokens are drafted in a step. Miao et al.,
2023, "SpecInfer", draft a tree, which one pass checks by one mask; a chain is a tree with one
branch, so that both are the same code here. One sequence at a time.

Shapes in comments: N nodes of a tree, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Block, LanguageModel, Place, turns


@dataclass
class Tree:
    """Tokens that may follow a text: node 0 is its last token, each other one names its parent.

    A parent stands before its children. `q` has, for each node that was drawn, the probabilities
    (V) that it was drawn from.
    """

    tokens: list[int]
    parents: list[int] = field(default_factory=lambda: [-1])
    q: dict[int, Tensor] = field(default_factory=dict)

    def add(self, token: int, parent: int) -> int:
        """Add a child of a node and return its number."""
        self.tokens.append(token)
        self.parents.append(parent)
        return len(self.tokens) - 1

    def path(self, node: int) -> list[int]:
        """Return the nodes from the root to this one."""
        found = [node]
        while self.parents[found[-1]] >= 0:
            found.append(self.parents[found[-1]])
        return found[::-1]

    def child(self, node: int, token: int) -> int | None:
        """Return the node's child that is this token, or None."""
        pairs = zip(self.parents, self.tokens, strict=True)
        return next((n for n, pair in enumerate(pairs) if pair == (node, token)), None)

    @property
    def is_chain(self) -> bool:
        return self.parents == list(range(-1, len(self.parents) - 1))


@dataclass(frozen=True)
class Step:
    """At most so many tokens are drafted on each branch: the likeliest, or by a generator drawn."""

    drafted: int
    generator: torch.Generator | None = None


class Draft(Protocol):
    """What proposes the tokens after one text, which it may keep in mind as it grows."""

    def tree(self, text: Sequence[int], step: Step) -> Tree:
        """Return what may follow the text, with q where it is drawn."""
        ...


class Begun(NamedTuple):
    """A text, and a cache that holds it but for its last token, with room for what follows."""

    text: list[int]
    cache: KeyValueCache


@dataclass
class Passes:
    """What the passes of the model left: `added` tokens of each, and how the draft did."""

    tokens: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0  # passes in which a drafted token was looked at and not taken

    @property
    def tokens_per_pass(self) -> float:
        """Return the mean number of tokens that a pass adds."""
        return sum(self.added) / len(self.added)

    @property
    def acceptance(self) -> float:
        """Return α: accepted tokens over those looked at, of which the first rejected is one."""
        return self.accepted / max(1, self.accepted + self.rejected)

    def __iadd__(self, other: "Passes") -> "Passes":
        self.tokens += other.tokens
        self.added += other.added
        self.accepted += other.accepted
        self.rejected += other.rejected
        return self


@torch.inference_mode()
def speculate(model: LanguageModel, draft: Draft, begun: Begun, tokens: int, step: Step) -> Passes:
    """Continue the text by at least so many tokens: the likeliest, or with a generator drawn ones.

    Either way they are what the model alone would say: the same tokens, or the same distribution.
    """
    text, cache, done = begun.text, begun.cache, Passes()
    while len(done.tokens) < tokens:
        tree = draft.tree(text, step)
        known = cache.length  # all of the text but its last token, which is the tree's root
        logits = model.logits(read(model, tree, cache))[0]  # N, V
        if step.generator:
            path, last = accepted_by_sampling(tree, logits, step.generator)
        else:
            path, last = greedy(tree, logits)
        cache.keep(known, path)
        new = [*(tree.tokens[node] for node in path[1:]), last]
        text += new
        done.tokens += new
        done.added.append(len(new))
        done.accepted += len(path) - 1
        done.rejected += path[-1] in tree.parents
    return done


def greedy(tree: Tree, logits: Tensor) -> tuple[list[int], int]:
    """Return the path of nodes that the model says, too, and its own token after them."""
    likeliest = logits.argmax(-1).tolist()
    node: int | None = 0
    while node is not None:
        last = node
        node = tree.child(last, likeliest[last])
    return tree.path(last), likeliest[last]


def accepted_by_sampling(
    tree: Tree, logits: Tensor, generator: torch.Generator
) -> tuple[list[int], int]:
    """Return the accepted nodes of a chain that was drawn, and the token after them: algorithm 1.

    A drafted x is kept with probability min(1, p(x) / q(x)). The first that is not is drawn again
    from what p has above q, so that all tokens are distributed as p.
    """
    p = logits.softmax(-1)
    for node in range(1, len(tree.tokens)):
        x, q, before = tree.tokens[node], tree.q[node], node - 1
        r = torch.rand((), generator=generator, device=p.device)
        if r * q[x] >= p[before, x]:
            return tree.path(before), drawn(above(p[before], q), generator)
    last = len(tree.tokens) - 1
    return tree.path(last), drawn(p[last], generator)


def drawn(probabilities: Tensor, generator: torch.Generator) -> int:
    """Return a token drawn by its probability (V)."""
    return int(torch.multinomial(probabilities, 1, generator=generator))


def above(p: Tensor, q: Tensor) -> Tensor:
    """Return p' (V): what p has above q, as probabilities; p itself where rounding leaves none."""
    left = (p - q).clamp(min=0)
    return left / left.sum() if left.sum() > 0 else p


def read(model: LanguageModel, tree: Tree, cache: KeyValueCache, first: int = 0) -> Tensor:
    """Return what the head reads (1, N, C) of the nodes from `first` on; the cache keeps them.

    The cache holds the text before the tree, and the nodes before `first`. Each node sees the
    text, and of the tree only its own path; it stands where its depth puts it.
    """
    device = model.embedding.weight.device
    tokens = torch.tensor([tree.tokens[first:]], device=device)
    if tree.is_chain:
        return model.hidden(tokens, cache)
    text, paths = cache.length - first, [tree.path(n) for n in range(first, len(tree.tokens))]
    seen = torch.zeros(len(paths), text + len(tree.tokens), dtype=torch.bool)
    seen[:, :text] = True
    for row, path in enumerate(paths):
        seen[row, [text + node for node in path]] = True
    depths = [len(path) - 1 for path in paths]
    width, base = model.config.width // model.config.heads, model.config.rope_base
    cos, sin = turns(max(depths) + 1, width, base, text, device)
    place = Place(cos[depths], sin[depths], cache=cache)
    hidden, blocks = model.embedding(tokens), cast(Sequence[Block], model.blocks)
    with _masked(blocks, seen.to(device)):
        for layer, block in enumerate(blocks):
            hidden = block(hidden, place._replace(layer=layer))
    cache.advance(len(paths))
    return cast(Tensor, model.norm(hidden))


@contextmanager
def _masked(blocks: Sequence[Block], seen: Tensor) -> Iterator[None]:
    """Let the blocks' queries look at just those keys of `seen` (Q, T)."""

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        grouped = query.shape[1] != key.shape[1]
        return F.scaled_dot_product_attention(query, key, value, seen, enable_gqa=grouped)

    before = [block.attention for block in blocks]
    for block in blocks:
        block.attention = attend
    try:
        yield
    finally:
        for block, attention in zip(blocks, before, strict=True):
            block.attention = attention
