"""Claims as marks on an axis: the two ends of one published range are two claims and one mark."""

from collections.abc import Iterable
from dataclasses import dataclass

from taxonomy.choices import Qualifier
from taxonomy.models import Claim


@dataclass(frozen=True)
class Mark:
    """What is drawn for one claim, or for the two ends of a range: from `low` to `high`.

    `claims` has the lower end first where both ends are claims. Where the range is published in
    one claim, its other end is a number only.
    """

    claims: tuple[Claim, ...]
    low: float
    high: float

    @property
    def claim(self) -> Claim:
        """Return the claim that names the mark: the upper end of a range."""
        return self.claims[-1]

    @property
    def is_range(self) -> bool:
        return self.low != self.high

    @property
    def is_best_case(self) -> bool:
        """Whether the number is the best of several: "up to". Such marks are hollow."""
        return self.claim.qualifier == Qualifier.UP_TO


def marks_of(claims: Iterable[Claim]) -> list[Mark]:
    """Return the marks of the claims, which are of one axis, in their order.

    A claim that cannot stand on its axis has none.
    """
    drawn = {claim.pk: claim for claim in claims if claim.plotted is not None}
    marks: list[Mark] = []
    done: set[int] = set()
    for claim in drawn.values():
        if claim.pk in done:
            continue
        other = drawn.get(claim.other_end_id or 0)
        together = [claim, other] if other else [claim]
        done.update(one.pk for one in together)
        together.sort(key=lambda one: one.plotted or 0)
        ends = [end for one in together for end in (one.plotted, one.other_plotted) if end]
        marks.append(Mark(tuple(together), min(ends), max(ends)))
    return marks
