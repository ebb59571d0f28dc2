"""The encoder of BERT and of DistilBERT, for counts and times: its weights here are random.

Shapes in comments: B sequences, T tokens, C width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models.attention import Attention


@dataclass(frozen=True)
class BertShape:
    """The sizes of an encoder. Devlin et al., 2019, section 3; the base model's are the defaults.

    `whole` has BERT's token types and pooler, which DistilBERT leaves out (Sanh et al., 2019,
    section 3).
    """

    layers: int = 12
    width: int = 768
    heads: int = 12
    vocabulary: int = 30_522
    positions: int = 512
    whole: bool = True


class BertBlock(nn.Module):
    """One layer: attention in both directions, then four widths of GELU, each normed after."""

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.heads
        self.attention: Attention = F.scaled_dot_product_attention
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.feed_forward_norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output (B, T, C)."""
        heads = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = self.attention(*heads).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.output(mixed))
        return self.feed_forward_norm(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    """Tokens in, what each became out; and what the first became, by the pooler, where it has one.

    Made on the meta device it has the sizes of its weights and no memory.
    """

    def __init__(self, shape: BertShape) -> None:
        super().__init__()
        width = shape.width
        self.words = nn.Embedding(shape.vocabulary, width)
        self.positions = nn.Embedding(shape.positions, width)
        self.types = nn.Embedding(2, width) if shape.whole else None
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.blocks = nn.ModuleList(BertBlock(shape) for _ in range(shape.layers))
        self.pooler = nn.Linear(width, width) if shape.whole else None

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the hidden states (B, T, C) and the first one's (B, C) through the pooler."""
        x = self.words(tokens) + self.positions.weight[: tokens.shape[1]]
        if self.types:
            x = x + self.types.weight[0]
        x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        return x, self.pooler(x[:, 0]).tanh() if self.pooler else None


def with_random_weights(shape: BertShape, device: str = "cpu") -> Bert:
    """Return an encoder whose matrices are random, as BERT begins: deviation 0.02, biases zero."""
    with torch.device("meta"):
        model = Bert(shape)
    model = model.to_empty(device=device).requires_grad_(False).eval()
    generator = torch.Generator(device).manual_seed(0)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            weight.normal_(std=0.02, generator=generator)
        else:
            weight.fill_(0 if name.endswith("bias") else 1)
    return model


def parameters(shape: BertShape) -> int:
    """Return the number of parameters."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in Bert(shape).parameters())
