"""A language model whose neurons are silent for most tokens: ReLU, and a price on speaking.

Shapes in comments: B sequences, T tokens, C width, N neurons of a block, H heads, D head width.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models import attention, shapes
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Config, LanguageModel, Place, attend
from casestudies.lab.train import loop

BATCH = 8  # windows a step


class ReluBlock(nn.Module):
    """Attention, then one layer of ReLU neurons, as OPT has; norms and positions are Llama's."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, config.feed_forward
        self.attention_norm = nn.RMSNorm(width, eps=config.norm_epsilon)
        self.query, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.feed_forward_norm = nn.RMSNorm(width, eps=config.norm_epsilon)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        self.spoken = torch.zeros(())  # mean activation of the last pass in training

    def forward(self, hidden: Tensor, place: Place) -> Tensor:
        """Return the block's output (B, T, C)."""
        hidden = hidden + self.output(self.mixed(hidden, place))
        said = self.active(hidden)
        if self.training:
            self.spoken = said.mean()
        return hidden + cast(Tensor, self.down(said))

    def mixed(self, hidden: Tensor, place: Place) -> Tensor:
        """Return what the heads mix (B, T, C), a head's numbers side by side."""
        x = self.attention_norm(hidden)
        projected = self.query(x), self.key(x), self.value(x)
        return attend(projected, self.head_width, place, attention.stock)

    def active(self, hidden: Tensor) -> Tensor:
        """Return what the neurons say (B, T, N), mostly zeros, to the sum after attention."""
        return F.relu(self.up(self.feed_forward_norm(hidden)))

    def place(self, hidden: Tensor, first: int = 0) -> Place:
        """Return the place of tokens (B, T, C) whose first has this position."""
        return Place.of(hidden, self.head_width, self.config.rope_base, first)

    @property
    def head_width(self) -> int:
        return self.config.width // self.config.heads


def blocks_of(model: LanguageModel) -> Sequence[ReluBlock]:
    """Return the blocks of a model that `untrained` made."""
    return cast(Sequence[ReluBlock], model.blocks)


def untrained(config: Config, generator: torch.Generator, device: str) -> LanguageModel:
    """Return a model of ReLU blocks with random weights, in float32; its head is the embedding."""
    model = LanguageModel(config, tied=True)
    model.blocks = nn.ModuleList(ReluBlock(config) for _ in range(config.layers))
    return shapes.randomized(model, generator).to(device)


def train(
    model: LanguageModel,
    batches: Iterator[Tensor],
    schedule: loop.Schedule,
    penalty: float,
    watch: Callable[[float], None] = lambda done: None,
) -> list[float]:
    """Train on next tokens, each block's mean activation costing `penalty`; return the losses.

    `watch` is told which share of the steps is done.
    """
    losses: list[float] = []

    def loss_of(batch: Tensor) -> loop.Loss:
        of_tokens = loop.next_token_loss(model, batch)
        spoken = torch.stack([block.spoken for block in blocks_of(model)])
        return loop.Loss(of_tokens, penalty * spoken.sum())

    def observe(step: int, loss: float) -> None:
        losses.append(loss)
        watch(step / schedule.steps)

    loop.train(model.parameters(), loss_of, batches, schedule, observe)
    model.requires_grad_(False).eval()
    for block in blocks_of(model):
        block.spoken = block.spoken.detach()
    return losses


@torch.no_grad()
def lie_by_columns(linear: nn.Linear) -> None:
    """Lay a column's numbers side by side, which for a tall matrix and one vector reads faster."""
    linear.weight.data = linear.weight.T.contiguous().T


def for_decoding(model: LanguageModel) -> LanguageModel:
    """Return a copy in the layout in which PyTorch multiplies with one vector fastest."""
    found = copy.deepcopy(model)
    for block in blocks_of(found):
        lie_by_columns(block.up)
    return found


def cache_for(model: LanguageModel, tokens: int) -> KeyValueCache:
    """Return an empty cache for so many tokens of one sequence."""
    weights = model.embedding.weight
    return KeyValueCache(model.config, 1, tokens, weights.device.type, weights.dtype)
