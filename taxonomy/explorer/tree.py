"""The taxonomy as a tree, families first or classes first, with the evidence under each node."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from urllib.parse import urlencode

from django.urls import reverse

from reviewapp.corpus.choices import COUNTED, Grade
from reviewapp.corpus.models import Publication
from taxonomy.models import Family, Group, Strategy, TaxonomyClass
from taxonomy.queries import ANY, publications_under

REVIEW = [("membership", str(kind)) for kind in COUNTED]


def publications_url(**facets: str | list[str]) -> str:
    """Return the address of the list of the review's own publications, filtered by `facets`."""
    query = [(name, value) for name, value in facets.items() if value]
    return f"{reverse('publications')}?{urlencode([*query, *REVIEW], doseq=True)}"


@dataclass(frozen=True, eq=False)
class Node:
    """A class, family, group or strategy at one place of the tree.

    `direct` counts the publications filed under the entry itself, `publications` those under it
    or under anything below it, each once. Below a class, only that class's publications count.
    """

    level: str
    slug: str
    name: str
    definition: str
    grade: str
    scope: str
    strategies: frozenset[int]
    direct: int
    publications: int
    children: tuple["Node", ...] = ()

    @property
    def key(self) -> str:
        """Return what the address calls it: "group:size-reduction", "strategy:pruning@serving"."""
        place = f"@{self.scope}" if self.scope and self.level != "class" else ""
        return f"{self.level}:{self.slug}{place}"

    @property
    def grade_meaning(self) -> str:
        return Grade(self.grade).label if self.grade else ""

    @property
    def links(self) -> int:
        """Return the number of links from a publication to a strategy at or below this node."""
        return sum(child.links for child in self.children) if self.children else self.publications

    @property
    def list_url(self) -> str:
        """Return the address of the list of the publications that `publications` counts."""
        if self.level == "family" and not self.scope:
            return publications_url(family=self.slug)
        slugs = [node.slug for node in self.walk() if node.level == "strategy"]
        return publications_url(
            **{"class": self.scope}, strategy=slugs if self.level not in ("class", "all") else []
        )

    def walk(self) -> Iterator["Node"]:
        """Yield this node and everything below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def path_to(self, key: str) -> list["Node"]:
        """Return the nodes from this one to the one called `key`; empty when it is not below."""
        if self.key == key:
            return [self]
        for child in self.children:
            if path := child.path_to(key):
                return [self, *path]
        return []

    def named_like(self, text: str) -> "Node | None":
        """Return the part of the tree whose names contain `text`, with all above and below it."""
        if text.casefold() in self.name.casefold() and self.level != "all":
            return self
        kept = tuple(filter(None, (child.named_like(text) for child in self.children)))
        return replace(self, children=kept) if kept else None


@lru_cache(maxsize=4)
def tree(pivot: str, state: str) -> Node:
    """Return the whole tree, families first or (pivot "class") classes first.

    `state` is what `revision()` says; the tree is remembered for as long as it says so.
    """
    root = _bare_tree(pivot)
    sets = {node.strategies for node in root.walk()} - {ANY}
    counts = publications_under(pivot, sets)
    classes = dict(TaxonomyClass.objects.values_list("slug", "id"))
    publications = Publication.objects.in_review().count()
    return replace(_with_counts(root, counts, classes), publications=publications)


def _bare_tree(pivot: str) -> Node:
    """Return the tree without counts."""
    strategies = list(Strategy.objects.select_related("group__family"))
    if pivot == "family":
        return _node("all", None, _families(strategies))
    classes = [
        _node("class", entry, _families(entry.strategies.all(), entry.slug), entry.slug)
        for entry in TaxonomyClass.objects.prefetch_related("strategies__group__family")
    ]
    return _node("all", None, classes)


def _families(strategies: Iterable[Strategy], scope: str = "") -> list[Node]:
    """Return one node for each family of these strategies, which come in the taxonomy's order."""
    return [
        _node("family", family, _groups(members, scope), scope)
        for family, members in groupby(strategies, key=lambda strategy: strategy.group.family)
    ]


def _groups(strategies: Iterable[Strategy], scope: str) -> list[Node]:
    return [
        _node("group", group, [_leaf(strategy, scope) for strategy in members], scope)
        for group, members in groupby(strategies, key=lambda strategy: strategy.group)
    ]


def _node(
    level: str, entry: TaxonomyClass | Family | Group | None, children: list[Node], scope: str = ""
) -> Node:
    return Node(
        level=level,
        slug=entry.slug if entry else "all",
        name=entry.name if entry else "All strategies",
        definition=entry.definition if entry else "",
        grade=entry.grade if entry else "",
        scope=scope,
        strategies=frozenset().union(*(child.strategies for child in children)),
        direct=0,
        publications=0,
        children=tuple(children),
    )


def _leaf(strategy: Strategy, scope: str) -> Node:
    return Node(
        level="strategy",
        slug=strategy.slug,
        name=strategy.name,
        definition=strategy.idea,
        grade=strategy.grade,
        scope=scope,
        strategies=frozenset({strategy.pk}),
        direct=0,
        publications=0,
    )


def _with_counts(
    node: Node,
    counts: Mapping[tuple[int | None, frozenset[int]], int],
    classes: Mapping[str, int],
) -> Node:
    """Return the node with its counts: a class counts its own publications, filed or not."""
    filed_here = node.level in ("class", "strategy")
    counted = ANY if node.level == "class" else node.strategies
    n = counts.get((classes.get(node.scope), counted), 0)
    children = tuple(_with_counts(child, counts, classes) for child in node.children)
    return replace(node, direct=n if filed_here else 0, publications=n, children=children)
