"""Clusters that a budget allows: two kinds of machine, mixed or in pools, as Splitwise prices them.

Prices and power are published (Splitwise, table I), and so is what the faster kind takes of the
slower kind's time for a prompt (of the coding workload, from memory) and for a token (table IV,
medians of Llama-2-70B). Nothing of the faster kind is measured here.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of machine: its times as multiples of those measured, dollars an hour, watts a GPU."""

    name: str
    prompts: float
    tokens: float
    dollars: float
    watts: float


A100 = Kind("A", 1.0, 1.0, 17.6, 400.0)  # takes the times that the run measures
H100 = Kind("H", 0.51, 0.70, 38.0, 700.0)


class Pool(NamedTuple):
    """So many machines of a kind."""

    kind: Kind
    machines: int


class Budget(NamedTuple):
    """What a cluster may cost, in dollars an hour, and draw, in watts of one GPU a machine."""

    dollars: float
    watts: float = math.inf

    def affords(self, kind: Kind) -> int:
        """Return how many machines of a kind it pays for."""
        # A billionth more, so that a budget of so many machines pays for them.
        return int(min(self.dollars / kind.dollars, self.watts / kind.watts) + 1e-9)

    def less(self, pool: Pool) -> "Budget":
        """Return what is left after a pool."""
        kind, machines = pool
        return Budget(self.dollars - machines * kind.dollars, self.watts - machines * kind.watts)


class Design(NamedTuple):
    """A cluster: a pool for prompts and one for tokens, or one pool for both."""

    prompts: Pool
    tokens: Pool | None = None

    @property
    def name(self) -> str:
        """Return the kinds of its machines: that for prompts first."""
        return self.prompts.kind.name + (self.tokens.kind.name if self.tokens else "")


def mixed_designs(budget: Budget) -> Iterator[Design]:
    """Yield the largest cluster of each kind whose machines do both phases."""
    for kind in (A100, H100):
        if machines := budget.affords(kind):
            yield Design(Pool(kind, machines))


def split_designs(budget: Budget) -> Iterator[Design]:
    """Yield all pairs of pools, those for tokens as large as what is left allows."""
    for prompts, tokens in ((A100, A100), (H100, H100), (H100, A100)):
        for machines in range(1, budget.affords(prompts) + 1):
            pool = Pool(prompts, machines)
            if left := budget.less(pool).affords(tokens):
                yield Design(pool, Pool(tokens, left))
