"""Which items are compared and how: what the address of a comparison says."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Self
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import QueryDict
from django.urls import reverse

from reviewapp.corpus.models import Publication
from taxonomy.models import Family, Group, Strategy, TaxonomyClass

FEWEST, MOST = 2, 6
LONGEST_SHOWN = 80  # characters of a wrong value that a message repeats
KindName = Literal["strategy", "publication", "class", "family", "group"]
SLUG = re.compile(r"[-\w]{1,80}", re.ASCII)


@dataclass(frozen=True)
class ItemKind:
    """A kind of thing that can be compared with others of its kind."""

    name: KindName
    plural: str  # its key in the address
    model: type[Strategy | Publication | TaxonomyClass | Family | Group]
    slug_field: str
    name_field: str

    def names(self, slugs: Iterable[str]) -> dict[str, str]:
        """Return the names of those slugs that exist, by slug and in slug order."""
        wanted = [slug for slug in slugs if SLUG.fullmatch(slug)]
        rows = self.model._default_manager.filter(**{f"{self.slug_field}__in": wanted})
        return dict(sorted(rows.order_by().values_list(self.slug_field, self.name_field)))

    def unknown(self, slug: str) -> BadRequest:
        """Return the error that says that there is no such thing."""
        return BadRequest(f"There is no {self.name} “{slug[:LONGEST_SHOWN]}”.")


STRATEGY = ItemKind("strategy", "strategies", Strategy, "slug", "name")
PUBLICATION = ItemKind("publication", "publications", Publication, "key", "artifact_name")
BRANCHES = (
    ItemKind("class", "classes", TaxonomyClass, "slug", "name"),
    ItemKind("family", "families", Family, "slug", "name"),
    ItemKind("group", "groups", Group, "slug", "name"),
)
# What the compare tray holds; what strategies belong to is compared by address only.
TRAY_KINDS: dict[str, ItemKind] = {kind.name: kind for kind in (STRATEGY, PUBLICATION)}
KINDS: dict[str, ItemKind] = {kind.name: kind for kind in (*TRAY_KINDS.values(), *BRANCHES)}


@dataclass(frozen=True)
class ComparisonSelection:
    """The items of a comparison, sorted and without duplicates, and how it is shown."""

    kind: ItemKind
    slugs: tuple[str, ...]
    baseline: str = ""
    only_differences: bool = False

    @classmethod
    def from_query(cls, query: QueryDict) -> Self:
        """Return the selection that an address asks for; raise BadRequest when it cannot be shown.

        Whether the items exist is for the caller to ask, with `check_known`.
        """
        kinds = [kind for kind in KINDS.values() if kind.plural in query]
        if len(kinds) > 1:
            plurals = " and ".join(kind.plural for kind in kinds).capitalize()
            raise BadRequest(f"{plurals} cannot be compared with each other.")
        kind = kinds[0] if kinds else STRATEGY
        slugs = ",".join(query.getlist(kind.plural)).split(",")
        chosen = tuple(sorted({slug.strip() for slug in slugs} - {""}))
        if len(chosen) > MOST:
            raise BadRequest(f"At most {MOST} can be compared at once; {len(chosen)} were chosen.")
        baseline, diff = query.get("baseline", ""), query.get("diff", "")
        if baseline and baseline not in chosen:
            shown = baseline[:LONGEST_SHOWN]
            raise BadRequest(f"The baseline “{shown}” is not one of the {kind.plural} compared.")
        if diff not in {"", "1"}:
            raise BadRequest("The value of “diff” can only be 1, for differences only.")
        return cls(kind, chosen, baseline, diff == "1")

    def check_known(self) -> dict[str, str]:
        """Return the items' names by slug; raise BadRequest when one does not exist."""
        names = self.kind.names(self.slugs)
        for slug in self.slugs:
            if slug not in names:
                raise self.kind.unknown(slug)
        return names

    @property
    def enough(self) -> bool:
        """Whether there is something to compare with something."""
        return len(self.slugs) >= FEWEST

    @property
    def full(self) -> bool:
        return len(self.slugs) >= MOST

    @property
    def url(self) -> str:
        """Return the one address of this comparison; what is default is left out."""
        query = {
            self.kind.plural: ",".join(self.slugs),
            "baseline": self.baseline,
            "diff": "1" if self.only_differences else "",
        }
        given = {key: value for key, value in query.items() if value}
        return reverse("compare") + (f"?{urlencode(given, safe=',')}" if given else "")

    def without(self, slug: str) -> Self:
        """Return the selection with one item fewer, and no baseline if that was it."""
        rest = tuple(other for other in self.slugs if other != slug)
        return replace(self, slugs=rest, baseline=self.baseline if self.baseline in rest else "")

    def with_baseline(self, slug: str) -> Self:
        """Return the selection with another baseline; none when `slug` is empty."""
        return replace(self, baseline=slug)

    def with_differences(self, only: bool) -> Self:
        """Return the selection showing only what differs, or everything."""
        return replace(self, only_differences=only)
