"""What strategies' publications claim, counted and ranged by PostgreSQL.

A strategy of a large corpus has tens of thousands of claims: only their counts and ends, and a
few examples with their sources, ever leave the database.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

from django.db import connection
from django.urls import reverse

from reviewapp.corpus.choices import Membership
from reviewapp.ui.units import as_stated
from taxonomy.choices import ClaimSource, Direction, Objective, Qualifier
from taxonomy.models import Claim

Kept = TypeVar("Kept")

# A comparison links to the same publication many times.
publication_url = lru_cache(4096)(lambda key: reverse("publication", args=[key]))


class Measure(NamedTuple):
    """What claims must share before their numbers may stand on one axis."""

    objective: str
    unit: str
    direction: str

    @property
    def label(self) -> str:
        return f"{Objective(self.objective).label} in {self.unit}"

    @property
    def direction_label(self) -> str:
        return str(Direction(self.direction).label)


@dataclass(frozen=True)
class Summary:
    """How many claims there are of one measure, and their ends."""

    count: int
    lowest: float
    highest: float


class Claimed(NamedTuple):
    """One claim with the publication that makes it."""

    item_id: int  # the strategy or publication in whose column it stands
    objective: str
    unit: str
    direction: str
    value: float
    qualifier: str
    metric: str
    baseline: str
    conditions: str
    hardware: str
    model: str
    source: str
    key: str
    artifact: str
    year: int

    @property
    def measure(self) -> Measure:
        return Measure(self.objective, self.unit, self.direction)

    @property
    def href(self) -> str:
        return publication_url(self.key)

    @property
    def publication(self) -> str:
        return f"{self.artifact} ({self.year})"

    @property
    def quantity(self) -> str:
        return as_stated(self.value, self.unit, Qualifier(self.qualifier).label)

    @property
    def is_exact(self) -> bool:
        return self.qualifier == Qualifier.EXACT

    @property
    def circumstances(self) -> str:
        """Return in one line what was measured, against what, and where the number stands."""
        known = (
            ("baseline", self.baseline or "not reported"),
            ("conditions", self.conditions or "not reported"),
            ("hardware", self.hardware),
            ("model", self.model),
            ("stated in", ClaimSource(self.source).label),
        )
        return "; ".join([self.metric, *(f"{name}: {text}" for name, text in known if text)])


def _in_order(found: Mapping[Measure, dict[int, Kept]]) -> dict[Measure, dict[int, Kept]]:
    """Return the measures in the order of the objectives, then of units and directions."""
    objectives = Objective.values
    order = sorted(found, key=lambda measure: (objectives.index(measure.objective), measure))
    return {measure: found[measure] for measure in order}


SUMMARIES = f"""
SELECT e.strategy_id, c.objective, c.unit, c.direction,
       count(*), min(c.value), max(c.value)
FROM taxonomy_evidence e
JOIN corpus_publication p ON p.id = e.publication_id AND p.membership <> '{Membership.EXTENSION}'
JOIN taxonomy_claim c ON c.publication_id = p.id
WHERE e.strategy_id = ANY (%s)
GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - made of constants


def summaries(strategy_ids: Sequence[int]) -> dict[Measure, dict[int, Summary]]:
    """Return, for each measure and strategy, the claims of publications counted in the review."""
    found: dict[Measure, dict[int, Summary]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(SUMMARIES, [list(strategy_ids)])
        for strategy, objective, unit, direction, *rest in cursor:
            found[Measure(objective, unit, direction)][strategy] = Summary(*rest)
    return _in_order(found)


# Each end walks the index claim_by_value between the strategy's own lowest and highest number
# until it has met enough claims of its own publications. A scalar subquery, unlike EXISTS, leaves
# PostgreSQL no choice to begin with all of the strategy's publications, which takes seconds.
ONE_END = f"""
SELECT c.id FROM taxonomy_claim c
WHERE c.objective = g.objective AND c.unit = g.unit
  AND c.direction = g.direction AND c.value BETWEEN g.lowest AND g.highest
  AND (SELECT p.membership <> '{Membership.EXTENSION}'
       FROM taxonomy_evidence e JOIN corpus_publication p ON p.id = e.publication_id
       WHERE e.strategy_id = g.strategy_id AND e.publication_id = c.publication_id)
"""  # noqa: S608 - made of constants
EXAMPLES = f"""
SELECT g.strategy_id, g.objective, g.unit, g.direction, c.value, c.qualifier, c.metric, c.baseline,
       c.conditions, c.hardware, c.model, c.source, p.key, p.artifact_name, p.year
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::int[], %s::float[], %s::float[])
     AS g (strategy_id, objective, unit, direction, claims, lowest, highest)
CROSS JOIN LATERAL (
    ({ONE_END} ORDER BY c.value DESC, c.id LIMIT %s)
    UNION
    ({ONE_END} AND g.claims > %s ORDER BY c.value, c.id DESC LIMIT 1)
) AS chosen
JOIN taxonomy_claim c ON c.id = chosen.id
JOIN corpus_publication p ON p.id = c.publication_id
ORDER BY c.value DESC, c.id
"""  # noqa: S608 - made of constants


def examples(
    wanted: Mapping[Measure, Mapping[int, Summary]], limit: int
) -> dict[tuple[Measure, int], list[Claimed]]:
    """Return the `limit` highest claims and the lowest one of each measure and strategy wanted."""
    rows = [
        (strategy, *measure, *astuple(summary))
        for measure, of_strategies in wanted.items()
        for strategy, summary in of_strategies.items()
    ]
    found: dict[tuple[Measure, int], list[Claimed]] = defaultdict(list)
    if not rows:
        return found
    with connection.cursor() as cursor:
        cursor.execute(EXAMPLES, [*map(list, zip(*rows, strict=True)), limit, limit])
        for claimed in map(Claimed._make, cursor):
            found[claimed.measure, claimed.item_id].append(claimed)
    return found


CLAIM = ("value", "qualifier", "metric", "baseline", "conditions", "hardware", "model", "source")
PUBLICATION = ("publication__key", "publication__artifact_name", "publication__year")


def of_publications(ids: Sequence[int]) -> dict[Measure, dict[int, list[Claimed]]]:
    """Return all claims of the publications, by measure and publication."""
    rows = (
        Claim.objects.filter(publication__in=ids)
        .order_by("-value", "pk")
        .values_list("publication_id", "objective", "unit", "direction", *CLAIM, *PUBLICATION)
    )
    found: dict[Measure, dict[int, list[Claimed]]] = defaultdict(lambda: defaultdict(list))
    for claimed in map(Claimed._make, rows):
        found[claimed.measure][claimed.item_id].append(claimed)
    return _in_order(found)
