"""The evidence gap map: the strongest evidence for each strategy and objective, or none."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby
from math import sqrt
from urllib.parse import urlencode

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from taxonomy.choices import Objective, Scope, Status
from taxonomy.claims.outcomes import Standing, standings
from taxonomy.explorer.cells import (
    Count,
    Place,
    cells,
    effects,
    filed,
    publications_by_objective,
)
from taxonomy.explorer.chosen import Chosen
from taxonomy.explorer.tree import Node, tree
from taxonomy.models import Claim, TaxonomyClass

# The fewest publications of each shade.
SHADES = (1, 2, 3, 5, 10)
UNIT = 5.1  # radius of one publication, in a box of 40
SMALLEST, LARGEST = 2.0, 19.8
HERE, REFUTED, EXTENSION = "here", "not-reproduced", "extension"
IN_WORDS = {
    HERE: "tried here",
    **dict(Scope.choices),
    EXTENSION: "only an extension",
    "": "none",
}
NOTHING = Count(0, 0, "", 0, 0, "")


@dataclass(frozen=True, eq=False)
class Cell:
    """A strategy and an objective: what is claimed, how strong it is, and where to read it.

    `tried` is the best that came of its claims here: HERE, REFUTED, or "" where none was judged.
    `chosen` is what it counts. `on_cpu` counts the claims that a CPU could try and that no run here
    has judged.
    """

    node: Node
    objective: Objective
    chosen: Chosen
    count: Count
    tried: str
    on_cpu: int
    unit: float
    nearest: "Cell | None" = None

    @property
    def evidence(self) -> str:
        """Return the strongest: HERE, a scope, EXTENSION, or "" where nothing is claimed.

        A claim that was tried and not reproduced is no stronger than its scope.
        """
        if self.tried == HERE:
            return HERE
        return self.count.scope or (EXTENSION if self.count.extensions else "")

    @property
    def in_words(self) -> str:
        return IN_WORDS[self.evidence]

    @property
    def scope_in_words(self) -> str:
        """Return the strongest scope of its claims, whatever came of them; "" if it has none."""
        return str(Scope(self.count.scope).label) if self.count.scope else ""

    @property
    def is_isolated(self) -> bool:
        return self.count.scope == Scope.ISOLATED

    @property
    def shade(self) -> int:
        """Return the shade from 1 to 5; 0 where no publication counts."""
        return sum(self.count.publications >= fewest for fewest in SHADES)

    @property
    def radius(self) -> str:
        """Return the radius of its circle: the area is the number of publications."""
        return f"{max(SMALLEST, self.unit * sqrt(self.count.publications or 1)):.1f}"

    @property
    def strategy(self) -> str:
        """Return the strategy's name, with its class where the map has one row for each class."""
        scope = f" ({self.node.scope})" if self.node.scope else ""
        return self.node.name + scope

    @property
    def name(self) -> str:
        return f"{self.strategy}, {self.objective.label.lower()}"

    @property
    def url(self) -> str:
        """Return the address of the claims behind it, or of the nearest where there are none."""
        shown = self if self.evidence else self.nearest or self
        page = reverse("strategy", args=[shown.node.slug])
        query = urlencode({"objective": shown.objective, **shown.chosen.query}, doseq=True)
        return f"{page}?{query}#claims" if shown.evidence else page


@dataclass(frozen=True, eq=False)
class Row:
    """A strategy with its place in the tree, how many publications are filed, and its cells."""

    path: tuple[Node, ...]
    node: Node
    filed: int
    cells: tuple[Cell, ...]

    @cached_property
    def html(self) -> SafeString:
        """Return its cells as HTML: most of the page, and the same until the evidence changes."""
        return render_to_string("taxonomy/_gap_cells.html", {"row": self})

    @property
    def place(self) -> str:
        return " › ".join(node.name for node in self.path)

    def is_below(self, key: str) -> bool:
        """Whether the row is, or is somewhere below, the node with this key."""
        return key in [node.key for node in (*self.path, self.node)]


@dataclass(frozen=True)
class Section:
    """Rows under one heading; none where they are sorted by what they hold."""

    heading: str
    rows: Sequence[Row]


@dataclass(frozen=True, eq=False)
class GapMap:
    """The rows in the tree's order.

    `publications` has by objective how many claim an effect of any strategy, each counted once.
    """

    rows: tuple[Row, ...]
    publications: Mapping[str, int]

    @property
    def cells(self) -> Iterator[Cell]:
        return (cell for row in self.rows for cell in row.cells)

    @cached_property
    def claimed(self) -> list[Cell]:
        """Return the cells with a counted claim."""
        return [cell for cell in self.cells if cell.count.publications]

    @cached_property
    def table_html(self) -> SafeString:
        """Return the table behind the map as HTML, remembered as the rows are."""
        return render_to_string("taxonomy/_gap_table.html", {"map": self})

    def below(self, key: str) -> list[Row]:
        """Return the rows at or under the node with this key; all where it is empty."""
        return [row for row in self.rows if not key or row.is_below(key)]

    def sections(self, sort: str) -> list[Section]:
        """Return the rows by group, or sorted by name, by what is filed or by an objective."""
        if not sort:
            return [
                Section(place, [row for row in self.rows if row.place == place])
                for place in dict.fromkeys(row.place for row in self.rows)
            ]
        return [Section("", sorted(self.rows, key=lambda row: _order(row, sort)))]


def _order(row: Row, sort: str) -> tuple[int | str, ...]:
    """Return what sorts a row: by name from A, by a number from the most."""
    if sort == "name":
        return (row.node.name.casefold(),)
    if sort == "filed":
        return (-row.filed,)
    cell = next(cell for cell in row.cells if cell.objective == sort)
    strength = list(IN_WORDS).index(cell.evidence)
    return -cell.count.publications, strength, -cell.count.claims


@lru_cache(maxsize=2)
def judged(_state: str, _findings: str) -> frozenset[tuple[int, str]]:
    """Return each claim that a run here judged, and whether that is HERE or REFUTED.

    It is remembered while `revision()` and `findings_revision()` stay.
    """
    claims = Claim.objects.filter(outcomes__counts=True).distinct().only("study")
    return frozenset((one.claim.pk, _tried(one)) for one in standings(claims) if one.is_tried)


def _tried(standing: Standing) -> str:
    refuted = standing.status == Status.NOT_REPRODUCED and not standing.conflicting
    return REFUTED if refuted else HERE


@lru_cache(maxsize=16)
def gap_map(pivot: str, chosen: Chosen, state: str, outcomes: frozenset[tuple[int, str]]) -> GapMap:
    """Return the map of what is chosen, remembered while `revision()` and `judged()` stay."""
    found = Found(pivot, chosen, dict(outcomes))
    rows = [found.row(*leaf) for leaf in _leaves(tree(pivot, state), ())]
    return GapMap(_with_nearest(rows), publications_by_objective(chosen))


def _leaves(node: Node, above: tuple[Node, ...]) -> Iterator[tuple[tuple[Node, ...], Node]]:
    """Yield each strategy with the nodes from the top of the tree down to its group."""
    for child in node.children:
        if child.children:
            yield from _leaves(child, (*above, child))
        else:
            yield above, child


class Found:
    """What was counted for one map, to be read by place."""

    def __init__(self, pivot: str, chosen: Chosen, outcomes: Mapping[int, str]) -> None:
        self.chosen = chosen
        self.classes = dict(TaxonomyClass.objects.values_list("slug", "id"))
        self.cells = cells(pivot, chosen)
        # The tree has counted the whole review.
        self.filed = None if chosen.is_whole_review else filed(pivot, chosen)
        known = effects(pivot, chosen, outcomes)
        self.tried: dict[Place, str] = {}
        for effect in known:
            if self.tried.get(effect.place) != HERE:
                self.tried[effect.place] = outcomes[effect.claim]
        self.judged_on_cpu: Counter[Place] = Counter(e.place for e in known if e.on_cpu)
        most = max((cell.publications for cell in self.cells.values()), default=0)
        self.unit = min(UNIT, LARGEST / sqrt(most or 1))

    def row(self, path: tuple[Node, ...], node: Node) -> Row:
        (strategy,) = node.strategies
        class_id = self.classes.get(node.scope)
        chosen = self.chosen
        if node.scope:
            chosen = replace(chosen, classes=tuple(sorted({node.scope, *chosen.classes})))
        row = tuple(self._cell(node, (class_id, strategy, o), o, chosen) for o in Objective)
        here = node.publications if self.filed is None else self.filed.get((class_id, strategy), 0)
        return Row(path, node, here, row)

    def _cell(self, node: Node, place: Place, objective: Objective, chosen: Chosen) -> Cell:
        count = self.cells.get(place, NOTHING)
        on_cpu = count.on_cpu - self.judged_on_cpu[place]
        return Cell(node, objective, chosen, count, self.tried.get(place, ""), on_cpu, self.unit)


def _with_nearest(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows, each empty cell with the cell that comes nearest to it."""
    return tuple(
        replace(row, cells=tuple(_near(cell, row, beside) for cell in row.cells))
        for _, group in groupby(rows, key=lambda row: row.path)
        for beside in [list(group)]
        for row in beside
    )


def _near(cell: Cell, row: Row, beside: Sequence[Row]) -> Cell:
    """Return the cell with the nearest evidence, where it has none itself.

    That is the strategy of its group with the most publications on the same objective, or else
    what most publications claim of the strategy itself.
    """
    if cell.evidence:
        return cell
    place = row.cells.index(cell)
    group = [other.cells[place] for other in beside]
    claimed = [other for other in group if other.count.publications]
    own = [other for other in row.cells if other.evidence]
    nearest = max(claimed or own, key=lambda other: other.count.publications, default=None)
    return replace(cell, nearest=nearest)
