"""What the address of the explorer asks for: order, filters, selection, and search in the tree."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import BadRequest
from django.http import QueryDict

from reviewapp.corpus.choices import COUNTED, Membership
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.fields import WholeNumberField
from taxonomy.choices import Objective
from taxonomy.explorer.cells import Chosen, Memory
from taxonomy.explorer.gap_map import GapMap, Row, Section, gap_map, heard
from taxonomy.explorer.gaps import Gaps, gaps_of
from taxonomy.explorer.tree import Node, tree
from taxonomy.models import TaxonomyClass
from taxonomy.queries import revision

PIVOTS = {"family": "Families first", "class": "Classes first"}
MEMBERS = {
    "": ("The review’s own", COUNTED),
    "named": ("Only those named", (Membership.NAMED,)),
    "all": ("With extensions", tuple(Membership)),
}
MEMORY = [("", "Any, or not stated"), *Memory.choices]
FIRST_YEAR, LAST_YEAR = 1950, 2100
MOST_GB, USUAL_GB = 1_000_000, 24
OBJECTIVES = tuple(Objective.values)
SORTS = ("name", "filed", *OBJECTIVES)
# Where the long names of narrow columns may break, with a soft hyphen.
BROKEN: dict[str, str] = {
    Objective.THROUGHPUT: "Through\u00adput",
    Objective.COMMUNICATION: "Communi\u00adcation",
    Objective.RELIABILITY: "Relia\u00adbility",
}
FILTERS = ("class", "from", "to", "membership", "memory", "gb")
# What an address says anyway when it leaves a key out.
DEFAULT = {"pivot": "family", "gb": str(USUAL_GB)}


class ExplorerForm(forms.Form):
    """What the address of the explorer may ask for."""

    pivot = forms.ChoiceField(label="Rows", choices=list(PIVOTS.items()), required=False)
    select = forms.CharField(max_length=200, required=False)
    q = forms.CharField(max_length=200, required=False)
    sort = forms.ChoiceField(choices=[(key, key) for key in SORTS], required=False)
    membership = forms.ChoiceField(
        choices=[(key, label) for key, (label, _) in MEMBERS.items()], required=False
    )
    memory = forms.ChoiceField(choices=MEMORY, required=False)
    gb = WholeNumberField(min_value=1, max_value=MOST_GB, required=False)

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data)
        classes = TaxonomyClass.objects.values_list("slug", "name")
        self.fields["class"] = forms.ChoiceField(choices=list(classes), required=False)
        for key in ("from", "to"):
            self.fields[key] = WholeNumberField(
                min_value=FIRST_YEAR, max_value=LAST_YEAR, required=False
            )

    @property
    def classes(self) -> list[tuple[str, str]]:
        return list(self.fields["class"].choices)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Column:
    """A column of the map: its name, the address that sorts by it, the publications in it."""

    key: str
    name: str
    on: bool
    address: str
    publications: int | None


@dataclass(frozen=True)
class View:
    """What is shown: the map of what is chosen, its order, the selection, the tree search.

    `asked` has the keys of the address that are not left to their defaults, but for `select`.
    """

    asked: dict[str, str]
    classes: list[tuple[str, str]]
    chosen: Chosen
    root: Node
    path: list[Node]
    map: GapMap

    @property
    def pivot(self) -> str:
        return self.asked.get("pivot", DEFAULT["pivot"])

    @property
    def sort(self) -> str:
        return self.asked.get("sort", "")

    @property
    def q(self) -> str:
        return self.asked.get("q", "")

    @property
    def selected(self) -> Node | None:
        return self.path[-1] if self.path else None

    @property
    def selected_key(self) -> str:
        return self.selected.key if self.selected else ""

    @property
    def sections(self) -> list[Section]:
        return self.map.sections(self.sort)

    @property
    def gaps(self) -> Gaps:
        return gaps_of(self.map)

    @cached_property
    def marked(self) -> set[Row]:
        """Return the rows of the selection."""
        return set(self.map.below(self.selected_key)) if self.selected else set()

    @property
    def exported(self) -> list[Row]:
        """Return the rows of the selection, or of the group of a strategy; all without one."""
        branch = next((node for node in reversed(self.path) if node.children), None)
        return self.map.below(branch.key if branch else "")

    @cached_property
    def filter_in_words(self) -> str:
        """Return what is counted, to be read after "Counted:"."""
        chosen = self.chosen
        words = [MEMBERS[self.asked.get("membership", "")][0].lower()]
        words += [dict(self.classes)[chosen.class_]] if chosen.class_ else []
        words += [f"since {chosen.first}"] if chosen.first is not None else []
        words += [f"until {chosen.last}"] if chosen.last is not None else []
        size = f" {chosen.gb:,} GB" if chosen.gb else ""
        memory = f"device memory {dict(MEMORY)[chosen.memory].lower()}{size}"
        return ", ".join([*words, memory if chosen.memory else "any device"])

    def address(self, **changes: str) -> str:
        """Return the query string of this view with `changes`; defaults are left out."""
        now = {**self.asked, **changes}
        kept = {name: value for name, value in now.items() if value and value != DEFAULT.get(name)}
        return "?" + urlencode(kept)

    @property
    def memberships(self) -> list[tuple[str, str]]:
        return [(key, label) for key, (label, _) in MEMBERS.items()]

    @property
    def membership(self) -> str:
        return self.asked.get("membership", "")

    @property
    def memories(self) -> list[tuple[str, str]]:
        return MEMORY

    @property
    def gb(self) -> int:
        return self.chosen.gb or USUAL_GB

    @property
    def is_filtered(self) -> bool:
        return self.chosen != Chosen()

    @property
    def without_filters(self) -> str:
        return self.address(**dict.fromkeys(FILTERS, ""), select=self.selected_key)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """Return what a search in the tree leaves as it is, as keys and values of the address."""
        kept = {**self.asked, "select": self.selected_key, "q": ""}
        return [(key, value) for key, value in kept.items() if value != DEFAULT.get(key, "")]

    @property
    def without_search(self) -> str:
        return self.address(q="", select=self.selected_key)

    @property
    def select_address(self) -> str:
        """Return the query string that ends where the key of a node is to be added."""
        return self.address() + ("&" if len(self.address()) > 1 else "") + "select="

    @property
    def pivots(self) -> list[tuple[str, str, bool]]:
        """Return each pivot as address (with the same entry selected), name, whether it is on."""
        node = self.selected
        key = f"{node.level}:{node.slug}" if node and node.level != "class" else ""
        return [
            (self.address(pivot=pivot, select=key), name, pivot == self.pivot)
            for pivot, name in PIVOTS.items()
        ]

    @property
    def columns(self) -> list[Column]:
        """Return the columns that the map can be sorted by."""
        names: dict[str, str] = {"name": "Strategy", "filed": "Filed", **dict(Objective.choices)}
        return [
            Column(
                key=key,
                name=BROKEN.get(key, name),
                on=key == self.sort,
                # Asked for again, the taxonomy's own order comes back.
                address=self.address(
                    sort="" if key == self.sort else key, select=self.selected_key
                ),
                publications=self.map.publications.get(key, 0) if key in OBJECTIVES else None,
            )
            for key, name in names.items()
        ]


def asked_view(data: QueryDict) -> View:
    """Return the view that an address asks for; raise BadRequest where it makes no sense."""
    form = ExplorerForm(data)
    given = cleaned_or_400(form)
    chosen = _chosen(given)
    pivot = given["pivot"] or DEFAULT["pivot"]
    state, outcomes = revision(), heard()
    root = tree(pivot, state)
    path = _path(root, given["select"])
    asked = {**given, "gb": chosen.gb, "from": chosen.first, "to": chosen.last, "select": ""}
    return View(
        asked={key: str(value) for key, value in asked.items() if value not in ("", None)},
        classes=form.classes,
        chosen=chosen,
        root=root,
        path=path,
        map=gap_map(pivot, chosen, state, outcomes),
    )


def _chosen(given: dict[str, Any]) -> Chosen:
    first, last = given["from"], given["to"]
    if first is not None and last is not None:
        first, last = sorted((first, last))
    sized = given["memory"] in (Memory.AT_MOST, Memory.AT_LEAST)
    return Chosen(
        class_=given["class"],
        first=first,
        last=last,
        members=MEMBERS[given["membership"]][1],
        memory=given["memory"],
        gb=(given["gb"] or USUAL_GB) if sized else None,
    )


def _path(root: Node, key: str) -> list[Node]:
    """Return the nodes below the root down to the one called `key`, or to the like of it.

    A key made in the other pivot differs only in the class after the @.
    """
    if not key:
        return []
    plain = key.partition("@")[0]
    alike = (node.key for node in root.walk() if f"{node.level}:{node.slug}" == plain)
    path = root.path_to(key) or root.path_to(next(alike, ""))
    if not path:
        raise BadRequest(f"There is no “{key}” in this order of the taxonomy.")
    return path[1:]
