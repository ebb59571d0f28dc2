"""A token that is decoded with the chosen neurons and heads only: nothing else is read.

The weights of a neuron, as of a number of a head, lie in one row of each matrix, so that what is
chosen is read in pieces, where it lies and once. PyTorch has these two products for tables of
embeddings: the weighted sum of chosen rows, and its gradient by the weights.

Shapes in comments: C width, n units, k of them chosen, H heads, D head width.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models import attention
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Config, LanguageModel, Place, turn
from casestudies.lab.studies.contextual_sparsity.choosing import Predictor
from casestudies.lab.studies.contextual_sparsity.model import ReluBlock, blocks_of

SUM = 0  # of the modes that embedding_bag has

# Returns the places (k) of a layer's units to compute, from what a predictor may see (C) and from
# what the layer itself reads (C), which only an oracle may use.
Choice = Callable[[int, Tensor, Tensor], Tensor]
# Returns the logits (1, 1, vocabulary) after a token (1, 1), which the cache then holds.
Decode = Callable[[Tensor, KeyValueCache], Tensor]


def dots(x: Tensor, rows: Tensor, chosen: Tensor) -> Tensor:
    """Return the products (k) of x (C) with the chosen (k) of the rows (n, C), none copied.

    The operator is private: autograd calls it. What is public either copies the rows first or
    makes a tensor of a sparse layout, still called a beta, for each product.
    """
    first = chosen.new_zeros(1)
    return torch.ops.aten._embedding_bag_per_sample_weights_backward(
        x[None], rows, chosen, first, torch.zeros_like(chosen), SUM
    )


def weighted_sum(weights: Tensor, rows: Tensor, chosen: Tensor) -> Tensor:
    """Return the sum (C) of the chosen (k) of the rows (n, C), each by its weight (k)."""
    first = chosen.new_zeros(1)
    return F.embedding_bag(chosen, rows, first, per_sample_weights=weights, mode="sum")[0]


def best(predictors: Sequence[Predictor], counts: Sequence[int]) -> Choice:
    """Choose as many units of each layer as `counts` says, by its predictor."""
    return lambda layer, seen, x: predictors[layer](seen).topk(counts[layer], sorted=False).indices


class Skipping:
    """Decodes one sequence, a token at a time, by a model of ReLU blocks.

    Without a choice of heads all are computed, as the model does. Keys and values are always of all
    heads, so that later tokens find them. `numbers_read` counts the numbers of all matrices that
    were read, those of `predictors` included.
    """

    def __init__(
        self,
        model: LanguageModel,
        ahead: int,
        neurons: Choice,
        heads: Choice | None = None,
        predictors: Sequence[Predictor] = (),
    ) -> None:
        self.model, self.ahead = model, ahead
        self.neurons, self.heads = neurons, heads
        self.numbers_read = 0
        self._of_predictors = sum(predictor.numbers for predictor in predictors)
        blocks = blocks_of(model)
        self._down = [block.down.weight.T.contiguous() for block in blocks]
        self._output = [block.output.weight.T.contiguous() for block in blocks]
        self._numbers = torch.arange(blocks[0].head_width, device=model.embedding.weight.device)

    @torch.inference_mode()
    def __call__(self, token: Tensor, cache: KeyValueCache) -> Tensor:
        """Return the logits (1, 1, vocabulary) after a token (1, 1), which the cache then holds."""
        hidden = self.model.embedding(token)
        blocks = blocks_of(self.model)
        place = blocks[0].place(hidden, cache.length)
        entered: list[Tensor] = []
        for layer, block in enumerate(blocks):
            entered.append(hidden)
            seen = entered[max(0, layer - self.ahead)][0, 0]
            place = place._replace(layer=layer, cache=cache)
            if self.heads:
                x = block.attention_norm(hidden)
                heads = self.heads(layer, seen, x[0, 0])
                hidden = hidden + self._of_heads(block, x, heads, place, cache)
            else:
                hidden = hidden + block.output(block.mixed(hidden, place))
                self.numbers_read += 4 * block.query.weight.numel()
            x = block.feed_forward_norm(hidden)[0, 0]
            chosen = self.neurons(layer, seen, x)
            said = F.relu(dots(x, block.up.weight, chosen))
            hidden = hidden + weighted_sum(said, self._down[layer], chosen)
            self.numbers_read += 2 * len(chosen) * len(x)
        cache.advance(1)
        self.numbers_read += self._of_predictors + self.model.embedding.weight.numel()
        return self.model.logits(self.model.norm(hidden))

    def _of_heads(
        self, block: ReluBlock, x: Tensor, heads: Tensor, place: Place, cache: KeyValueCache
    ) -> Tensor:
        """Return what the chosen heads (k) make of x (1, 1, C), in its shape."""
        rows = (heads[:, None] * block.head_width + self._numbers).flatten()
        query = dots(x[0, 0], block.query.weight, rows).view(1, len(heads), 1, -1)  # 1, k, 1, D
        key, value = (
            part(x).unflatten(-1, (-1, block.head_width)).transpose(1, 2)
            for part in (block.key, block.value)
        )  # 1, H, 1, D
        query, key = turn(query, place.cos, place.sin), turn(key, place.cos, place.sin)
        key, value = cache.extend(place.layer, key, value)
        chosen = (part.index_select(1, heads) for part in (key, value))
        mixed = attention.stock(query, *chosen)
        self.numbers_read += 2 * block.key.weight.numel() + 2 * len(rows) * x.shape[-1]
        return weighted_sum(mixed.flatten(), self._output[place.layer], rows)[None, None]


def numbers_read(
    config: Config, neurons: Sequence[int], heads: Sequence[int] | None, rank: int
) -> int:
    """Return the numbers of all matrices that a token reads, its predictors' among them.

    By layer so many neurons and heads are chosen, of the heads all where that is None.
    """
    width, of_head = config.width, config.width // config.heads
    of_neurons = sum(2 * width * count for count in neurons)
    of_heads = sum(
        2 * width * width + 2 * width * of_head * count
        for count in heads or [config.heads] * config.layers
    )
    predicted = [config.feed_forward, *([config.heads] if heads else [])]
    of_predictors = sum(min(rank, units) * (width + units) for units in predicted)
    return of_neurons + of_heads + config.layers * of_predictors + config.vocabulary * config.width


def together(x: Tensor, up: Tensor, down: Tensor, chosen: Tensor) -> Tensor:
    """Return what neurons give to tokens x (B, C), reading those that any of them chose (B, k).

    `up` and `down` are (n, C), a neuron's weights in a row of each. Rows are copied for several
    tokens, whose products share them, and read where they lie for one.
    """
    if len(x) == 1:
        return weighted_sum(F.relu(dots(x[0], up, chosen[0])), down, chosen[0])[None]
    union = chosen.unique()
    return F.relu(x @ up[union].T) @ down[union]
