"""What the address of the explorer asks for: order, filters, selection, and search in the tree."""

from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import BadRequest
from django.http import QueryDict

from reviewapp.ui.errors import cleaned_or_400
from taxonomy.choices import Objective
from taxonomy.explorer.chosen import MEMBERS, MEMORY, USUAL_GB, Chosen, ChosenForm, chosen_of
from taxonomy.explorer.gap_map import GapMap, Row, Section, gap_map, judged
from taxonomy.explorer.gaps import Gaps, gaps_of
from taxonomy.explorer.tree import Node, tree
from taxonomy.queries import revisions

PIVOTS = {"family": "Families first", "class": "Classes first"}
OBJECTIVES = tuple(Objective.values)
SORTS = ("name", "filed", *OBJECTIVES)
# Where the long names of narrow columns may break, with a soft hyphen.
BROKEN: dict[str, str] = {
    Objective.THROUGHPUT: "Through\u00adput",
    Objective.COMMUNICATION: "Communi\u00adcation",
    Objective.RELIABILITY: "Relia\u00adbility",
}
FILTERS = ("class", "from", "to", "membership", "memory", "gb")
USUAL_PIVOT = "family"


class ExplorerForm(ChosenForm):
    """What the address of the explorer may ask for."""

    pivot = forms.ChoiceField(label="Rows", choices=list(PIVOTS.items()), required=False)
    select = forms.CharField(max_length=200, required=False)
    q = forms.CharField(max_length=200, required=False)
    sort = forms.ChoiceField(choices=[(key, key) for key in SORTS], required=False)


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

    `asked` has the values of those keys of the address that are not left to their defaults, but
    for `select`. `classes` are the names of the classes by slug.
    """

    asked: dict[str, list[str]]
    classes: dict[str, str]
    chosen: Chosen
    root: Node
    path: list[Node]
    map: GapMap

    @property
    def pivot(self) -> str:
        return self._one("pivot") or USUAL_PIVOT

    @property
    def sort(self) -> str:
        return self._one("sort")

    @property
    def q(self) -> str:
        return self._one("q")

    def _one(self, key: str) -> str:
        return "".join(self.asked.get(key, ()))

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

    @property
    def filter_in_words(self) -> str:
        """Return what is counted, to be read after "Counted:"."""
        return self.chosen.in_words(self.classes)

    def address(self, **changes: str) -> str:
        """Return the query string of this view with `changes`; an empty one leaves a key out."""
        now = {**self.asked, **{key: [value] if value else [] for key, value in changes.items()}}
        return "?" + urlencode(now, doseq=True)

    @property
    def memberships(self) -> list[tuple[str, str]]:
        return [(key, label) for key, (label, _) in MEMBERS.items()]

    @property
    def membership(self) -> str:
        return self.chosen.membership

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
        pairs = [(key, value) for key, values in self.asked.items() for value in values]
        selected = [("select", self.selected_key)] if self.selected else []
        return [pair for pair in pairs if pair[0] != "q"] + selected

    @property
    def without_search(self) -> str:
        return self.address(q="", select=self.selected_key)

    @property
    def select_address(self) -> str:
        """Return the query string that ends where the key of a node is to be added."""
        return "?" + urlencode({**self.asked, "select": ""}, doseq=True)

    @property
    def pivots(self) -> list[tuple[str, str, bool]]:
        """Return each pivot as address (with the same entry selected), name, whether it is on."""
        node = self.selected
        key = f"{node.level}:{node.slug}" if node and node.level != "class" else ""
        return [
            (
                self.address(pivot="" if pivot == USUAL_PIVOT else pivot, select=key),
                name,
                pivot == self.pivot,
            )
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
    chosen = chosen_of(given)
    pivot = given["pivot"] or USUAL_PIVOT
    state, findings = revisions()
    outcomes = judged(state, findings)
    root = tree(pivot, state)
    own = {"pivot": pivot if pivot != USUAL_PIVOT else "", "sort": given["sort"], "q": given["q"]}
    return View(
        asked={key: [value] for key, value in own.items() if value} | chosen.query,
        classes=form.classes,
        chosen=chosen,
        root=root,
        path=_path(root, given["select"]),
        map=gap_map(pivot, chosen, state, outcomes),
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
