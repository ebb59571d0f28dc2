"""What strategies belong to, side by side: classes, families or groups."""

from collections.abc import Iterable, Mapping, Sequence

from django.db.models import Count
from django.urls import reverse
from django.utils.http import urlencode

from reviewapp.corpus.choices import Membership
from taxonomy.comparison.claims import Claims
from taxonomy.comparison.selection import ItemKind
from taxonomy.comparison.table import Cell, Described, Item, Part, Row, Section, row, text
from taxonomy.models import Family, Group, PublicationFacets, Strategy, TaxonomyClass

Branch = TaxonomyClass | Family | Group
MODELS: Mapping[str, type[Branch]] = {
    "class": TaxonomyClass,
    "family": Family,
    "group": Group,
}
NOTE = "A publication counts once in each; extensions are counted apart."
QUANTITIES_NOTE = "Claims of every scope; which of them isolate one strategy is counted below."


def describe_branches(kind: ItemKind, slugs: Sequence[str]) -> Described:
    """Return what is known of the classes, families or groups with these slugs, in this order."""
    model = MODELS[kind.name]
    found = {branch.slug: branch for branch in model._default_manager.filter(slug__in=slugs)}
    branches = [found[slug] for slug in slugs]
    strategies = {branch.pk: _strategies(kind, branch) for branch in branches}
    filed = {branch.pk: _filed(kind, branch, strategies[branch.pk]) for branch in branches}
    return Described(
        tuple(Item(b.slug, b.name, _address(kind, b.slug)) for b in branches),
        {branch.pk: branch.name for branch in branches},
        (
            Section("What it is", tuple(_descriptions(branches))),
            Section("In the review", tuple(_counts(branches, strategies, filed)), NOTE),
        ),
    )


def _address(kind: ItemKind, slug: str) -> str:
    return f"{reverse('taxonomy')}?{urlencode({'select': f'{kind.name}:{slug}'})}"


def _descriptions(branches: Sequence[Branch]) -> Iterable[Row]:
    yield row("Definition", branches, lambda b: text(b.definition))
    yield row("Grade", branches, lambda b: text(f"{b.grade}: {b.get_grade_display()}"))


def _strategies(kind: ItemKind, branch: Branch) -> list[Strategy]:
    through = {"class": "classes", "family": "group__family", "group": "group"}[kind.name]
    return list(Strategy.objects.filter(**{through: branch.pk}).only("pk", "slug", "name"))


def _filed(kind: ItemKind, branch: Branch, strategies: Iterable[Strategy]) -> Mapping[str, int]:
    """Return how many publications are filed under the branch, by membership."""
    filed = (
        {"classes__contains": [branch.pk]}
        if kind.name == "class"
        else {"strategies__overlap": [strategy.pk for strategy in strategies]}
    )
    counts = PublicationFacets.objects.filter(**filed).values_list("membership")
    return dict(counts.annotate(Count("pk")))


def _counts(
    branches: Sequence[Branch],
    strategies: Mapping[int, Sequence[Strategy]],
    filed: Mapping[int, Mapping[str, int]],
) -> Iterable[Row]:
    counted = {pk: sum(of.values()) - of.get(Membership.EXTENSION, 0) for pk, of in filed.items()}
    yield row("Publications counted", branches, lambda b: _count(counted[b.pk]))
    for membership in Membership:
        cells = tuple(_count(filed[branch.pk].get(membership, 0)) for branch in branches)
        yield Row(f"Publications, {membership.label.lower()}", cells)
    yield row("Strategies", branches, lambda b: _named(strategies[b.pk]))


def _count(count: int) -> Cell:
    return Cell((Part(f"{count:,}"),), amount=count)


def _named(strategies: Sequence[Strategy]) -> Cell:
    details = tuple(Part(s.name, s.get_absolute_url()) for s in strategies)
    count = len(strategies)
    return Cell((Part(f"{count:,}"),), amount=count, details=details)


def quantity_section(claims: Claims, items: Sequence[int]) -> Section:
    """Return how many claims each item has about each quantity."""
    axes: dict[str, list[int]] = {}
    for axis in claims.axes:
        axes.setdefault(axis.quantity.name, []).append(axis.pk)

    def count(of: Sequence[int], item: int) -> int:
        return sum(t.count for pk in of for t in claims.tallies[pk].get(item, {}).values())

    rows = (
        Row(name, tuple(_count(count(of, item)) for item in items)) for name, of in axes.items()
    )
    return Section("Claims by quantity", tuple(rows), QUANTITIES_NOTE)
