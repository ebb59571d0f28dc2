"""What is reported of each artifact, from its publication's record and its claims."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from django.db.models import Prefetch

from reviewapp.corpus.models import Publication
from reviewapp.corpus.querysets import PublicationQuerySet
from taxonomy.choices import AxisKind, Direction
from taxonomy.models import Axis, Claim, Strategy

BATCH = 1000


@dataclass(frozen=True)
class Reported:
    """The claims of an artifact on one axis; `best` is the furthest in the good direction."""

    axis: Axis
    claims: tuple[Claim, ...]

    @property
    def best(self) -> Claim:
        """Return the best claim; the first where none can stand on the axis.

        Only claims of one artifact on one axis are set beside each other here.
        """
        quantity = self.axis.quantity
        is_ratio = quantity.axis_kind == AxisKind.RATIO  # in the good direction already
        furthest = max if is_ratio or quantity.direction == Direction.HIGHER else min
        drawn = [claim for claim in self.claims if claim.plotted is not None]
        return furthest(drawn, key=attrgetter("plotted"), default=self.claims[0])


@dataclass(frozen=True)
class Artifact:
    """A framework, library, system, algorithm or model, as its publication reports it."""

    publication: Publication
    reported: tuple[Reported, ...]

    @property
    def claims(self) -> int:
        return sum(len(one.claims) for one in self.reported)


def artifacts(publications: Iterable[Publication]) -> Iterator[Artifact]:
    """Yield the artifact of each publication that was read by `with_claims`."""
    for publication in publications:
        by_axis: dict[Axis, list[Claim]] = {}
        for claim in publication.claims.all():
            by_axis.setdefault(claim.axis, []).append(claim)
        yield Artifact(
            publication, tuple(Reported(axis, tuple(found)) for axis, found in by_axis.items())
        )


def with_claims(publications: PublicationQuerySet) -> PublicationQuerySet:
    """Return the publications, each to be read with its classes, strategies and claims."""
    claims = Claim.objects.select_related("axis__quantity").defer("search").order_by("position")
    strategies = Strategy.objects.only("slug", "name")
    return publications.defer("search", "claims_text").prefetch_related(
        "classes", Prefetch("strategies", strategies), Prefetch("claims", claims)
    )
