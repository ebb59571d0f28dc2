"""Language models of uneven layers, as a list of the layers that plans cut."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import Block, Config
from casestudies.lab.studies.auto_parallel.uneven import UNEVEN

HEAD_WIDTH = 32


@dataclass(frozen=True)
class Shape:
    """A language model whose blocks differ: the width of each feed-forward part."""

    vocabulary: int
    width: int
    feed_forward: tuple[int, ...]
    seed: int

    @classmethod
    def named(cls, name: str, vocabulary: int, width: int, seed: int) -> "Shape":
        """Return one of the uneven models of this width; raise KeyError."""
        uneven = UNEVEN[name]
        feed_forward = tuple(int(factor * width) for factor in uneven.feed_forward)
        return cls(vocabulary + uneven.more_rows, width, feed_forward, seed)

    def layers(self, device: str = "cpu") -> list[nn.Module]:
        """Return embedding, blocks and head, with the same random weights on every rank."""
        heads = self.width // HEAD_WIDTH
        config = Config(self.vocabulary, self.width, 0, 1, heads, heads, 10_000.0, 1e-5)
        blocks = [Block(replace(config, feed_forward=f)) for f in self.feed_forward]
        table = torch.empty(self.vocabulary, self.width)
        layers = [nn.Embedding.from_pretrained(table, freeze=False), *blocks, Head(config)]
        generator = torch.Generator().manual_seed(self.seed)
        for weight in (w for layer in layers for w in layer.parameters()):
            if weight.dim() == 1:
                nn.init.ones_(weight)
            else:
                nn.init.normal_(weight, std=weight.shape[-1] ** -0.5, generator=generator)
        return [layer.to(device) for layer in layers]


class Head(nn.Module):
    """The last layer: the norm and the scores of the vocabulary."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.width, eps=config.norm_epsilon)
        self.scores = nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the scores (B, T, vocabulary) of hidden states (B, T, C)."""
        scores: Tensor = self.scores(self.norm(hidden))
        return scores
