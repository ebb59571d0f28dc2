"""The evidence gap map: how many claims each strategy has about each objective, or none."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from taxonomy.choices import Objective
from taxonomy.explorer.tree import Node, publications_url, tree
from taxonomy.models import TaxonomyClass
from taxonomy.queries import ClaimCount, cells

STEPS = 5
NOTHING = ClaimCount(0, 0)


@dataclass(frozen=True)
class MapCell:
    """A strategy and an objective: the claims, the shade from 0 to 5, the list behind it."""

    objective: str
    publications: int
    claims: int
    shade: int
    url: str


@dataclass(frozen=True)
class MapRow:
    """A strategy with one cell for each objective."""

    node: Node
    cells: tuple[MapCell, ...]

    @cached_property
    def cells_html(self) -> SafeString:
        """Return the cells as HTML: most of the page, and the same until the evidence changes."""
        return render_to_string("taxonomy/_gap_cells.html", {"cells": self.cells})


@dataclass(frozen=True)
class MapSection:
    """The rows of one group, with the nodes from the top of the tree down to the group."""

    path: tuple[Node, ...]
    rows: tuple[MapRow, ...]


@dataclass(frozen=True)
class GapMap:
    """The sections in the tree's order, and the most publications that a cell of it has."""

    sections: tuple[MapSection, ...]
    most: int

    @property
    def shades(self) -> list[tuple[int, int]]:
        """Return the fewest and the most publications of each shade."""
        ends = [self.most * step // STEPS for step in range(STEPS + 1)]
        return [(low + 1, high) for low, high in pairwise(ends)]

    def below(self, top: Node) -> "GapMap":
        """Return the part of the map under a class, a family or a group."""
        kept = (s for s in self.sections if top.key in [node.key for node in s.path])
        return GapMap(tuple(kept), self.most)


@lru_cache(maxsize=4)
def gap_map(pivot: str, state: str) -> GapMap:
    """Return the map of the review's publications, remembered while `revision()` says `state`."""
    root = tree(pivot, state)
    found = cells(pivot)
    classes = dict(TaxonomyClass.objects.values_list("slug", "id"))
    most = max((cell.publications for cell in found.values()), default=0)
    sections = tuple(
        MapSection(path, tuple(_row(leaf, found, classes, most) for leaf in path[-1].children))
        for path in _group_paths(root, ())
    )
    return GapMap(sections, most)


def _group_paths(node: Node, above: tuple[Node, ...]) -> list[tuple[Node, ...]]:
    here = above if node.level == "all" else (*above, node)
    if node.level == "group":
        return [here]
    return [path for child in node.children for path in _group_paths(child, here)]


def _row(
    node: Node,
    found: Mapping[tuple[int | None, int, str], ClaimCount],
    classes: Mapping[str, int],
    most: int,
) -> MapRow:
    (strategy,) = node.strategies
    class_id = classes.get(node.scope)
    return MapRow(
        node,
        tuple(
            _cell(node, objective, found.get((class_id, strategy, objective), NOTHING), most)
            for objective in Objective.values
        ),
    )


def _cell(node: Node, objective: str, cell: ClaimCount, most: int) -> MapCell:
    query = {"class": node.scope, "strategy": node.slug, "objective": objective}
    return MapCell(
        objective=objective,
        publications=cell.publications,
        claims=cell.claims,
        shade=-(-cell.publications * STEPS // most) if most else 0,
        url=publications_url(**query) if cell.publications else "",
    )
