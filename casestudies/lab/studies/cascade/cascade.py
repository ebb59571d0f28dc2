"""A cascade of two steps, on what they said and cost: who answers, how well, and at what price.

The first step is cheap. Where its confidence is above the threshold its answer stands; otherwise
the last step answers too, at its own cost on top (FrugalGPT, section 3; Tabi, section 4). So the
threshold 0 is the first step alone, and 1 is the last, since no confidence is above 1. Costs may be
operations or seconds. Shapes in comments: Q queries.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_ALONE, LAST_ALONE = 0.0, 1.0  # thresholds


@dataclass(frozen=True)
class Queries:
    """What both steps say to the same queries, and what each step costs."""

    confidence: Tensor  # Q, of the first step, above 0 and at most 1
    first: Tensor  # Q, whether its answer is right
    last: Tensor  # Q
    first_cost: Tensor  # Q
    last_cost: Tensor  # Q, what asking the last step adds

    def kept(self, threshold: float) -> Tensor:
        """Return whose first answer stands (Q)."""
        return self.confidence > threshold

    def right(self, threshold: float) -> Tensor:
        """Return whether each query's answer is right (Q)."""
        return torch.where(self.kept(threshold), self.first, self.last)

    def costs(self, threshold: float) -> Tensor:
        """Return what each query costs (Q)."""
        return self.first_cost + torch.where(self.kept(threshold), 0.0, self.last_cost)

    def perfect(self) -> tuple[float, float]:
        """Return accuracy and mean cost if one knew when asking the last step helps."""
        helped = self.last & ~self.first
        cost = self.first_cost + torch.where(helped, self.last_cost, 0.0)
        return _mean(self.first | self.last), _mean(cost)


@dataclass(frozen=True)
class Thresholds:
    """All cascades that differ on the queries, from the last step alone to the first alone."""

    threshold: Tensor  # N
    accuracy: Tensor
    cost: Tensor  # mean of a query

    @classmethod
    def of(cls, queries: Queries) -> "Thresholds":
        """Return those of the queries, costs falling."""
        order = queries.confidence.argsort(descending=True)
        confidence = queries.confidence[order].double()
        gained = queries.first[order].double() - queries.last[order].double()
        saved = queries.last_cost[order].double()
        # Keeping the surest i queries is the threshold at the next one's confidence.
        threshold = torch.cat([confidence, confidence.new_tensor([FIRST_ALONE])])
        threshold[0] = LAST_ALONE
        apart = torch.cat([confidence.new_ones(1), -confidence.diff(), confidence.new_ones(1)]) > 0
        number = len(confidence)
        accuracy = queries.last.double().sum() + _summed(gained)
        cost = (queries.first_cost + queries.last_cost).double().sum() - _summed(saved)
        return cls(threshold[apart], accuracy[apart] / number, cost[apart] / number)

    def cheapest(self, accuracy: float) -> float:
        """Return the threshold of least cost that is so accurate, or the last step's alone."""
        enough = (self.accuracy >= accuracy - 1e-12).nonzero().flatten()
        return self.threshold[enough[-1]].item() if len(enough) else LAST_ALONE

    def most_accurate(self, cost: float) -> float:
        """Return the threshold of greatest accuracy that costs at most so much a query."""
        cheap = self.cost <= cost
        if not cheap.any():
            return FIRST_ALONE
        return self.threshold[torch.where(cheap, self.accuracy, -1.0).argmax()].item()


@dataclass(frozen=True)
class Mixing:
    """Sending queries to either model at random, at the same cost: the line between the two."""

    small: tuple[float, float]  # cost and accuracy
    large: tuple[float, float]

    def accuracy(self, cost: float) -> float:
        """Return the accuracy that it has at a mean cost; beyond an end, the end's."""
        (c0, a0), (c1, a1) = self.small, self.large
        share = min(max((cost - c0) / (c1 - c0), 0.0), 1.0)
        return a0 + share * (a1 - a0)


def paired(ours: Tensor, theirs: Tensor, groups: int) -> tuple[float, float]:
    """Return the mean of `ours` - `theirs` (Q) and its standard error.

    The queries are in so many groups of the same size, one after another; those of a group, such
    as a piece of text, are alike, so a group counts as one observation.
    """
    difference = (ours.double() - theirs.double()).view(groups, -1).mean(1)
    spread = difference.std().item() if groups > 1 else float("inf")
    return difference.mean().item(), spread / groups**0.5


def _summed(values: Tensor) -> Tensor:
    return torch.cat([values.new_zeros(1), values.cumsum(0)])


def _mean(values: Tensor) -> float:
    return values.double().mean().item()
