"""The PRISMA 2020 flow diagram as data: its boxes, and the numbers one review puts in them.

A number that is absent is "not reported". Nothing here fills such a gap with a zero: a review
that names no registers has not said that it searched none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

Arm = Literal["previous", "databases", "other", "included", "total", "meta-analysis"]
Stage = Literal["Identification", "Screening", "Included"]
Unit = Literal["record", "report", "study"]
Origin = Literal["reported", "derived", "declared", "not reported"]

# No bibliographic source holds a billion records, and a PostgreSQL integer holds this.
MAX_N = 999_999_999


class Box(NamedTuple):
    """One box of the diagram: its column (arm), its band (stage) and the line above its values."""

    arm: Arm
    stage: Stage
    heading: str = ""


class DiagramNumber(NamedTuple):
    """One number of the diagram; a listed value may instead be a list of named numbers."""

    key: str
    box: str
    unit: Unit
    label: str
    listed: bool = False


# Box names, keys and their order are those of the CSV template.
BOXES = {
    "box1": Box("previous", "Identification"),
    "box2": Box("databases", "Identification", "Records identified from:"),
    "box11": Box("other", "Identification", "Records identified from:"),
    "box3": Box("databases", "Identification", "Records removed before screening:"),
    "box4": Box("databases", "Screening"),
    "box5": Box("databases", "Screening"),
    "box6": Box("databases", "Screening"),
    "box7": Box("databases", "Screening"),
    "box12": Box("other", "Screening"),
    "box13": Box("other", "Screening"),
    "box8": Box("databases", "Screening"),
    "box9": Box("databases", "Screening", "Reports excluded:"),
    "box14": Box("other", "Screening"),
    "box15": Box("other", "Screening", "Reports excluded:"),
    "box10": Box("included", "Included"),
    "box16": Box("total", "Included"),
    "box17": Box("meta-analysis", "Included"),
}
VALUES = (
    DiagramNumber(
        "previous_studies", "box1", "study", "Studies included in previous version of review"
    ),
    DiagramNumber(
        "previous_reports",
        "box1",
        "report",
        "Reports of studies included in previous version of review",
    ),
    DiagramNumber("database_results", "box2", "record", "Databases"),
    DiagramNumber("database_specific_results", "box2", "record", "Specific databases", listed=True),
    DiagramNumber("register_results", "box2", "record", "Registers"),
    DiagramNumber("register_specific_results", "box2", "record", "Specific registers", listed=True),
    DiagramNumber("website_results", "box11", "record", "Websites"),
    DiagramNumber("organisation_results", "box11", "record", "Organisations"),
    DiagramNumber("citations_results", "box11", "record", "Citation searching"),
    DiagramNumber("duplicates", "box3", "record", "Duplicate records removed"),
    DiagramNumber(
        "excluded_automatic", "box3", "record", "Records marked as ineligible by automation tools"
    ),
    DiagramNumber("excluded_other", "box3", "record", "Records removed for other reasons"),
    DiagramNumber("records_screened", "box4", "record", "Records screened"),
    DiagramNumber("records_excluded", "box5", "record", "Records excluded"),
    # No value of the package's; its row says so (csv_file).
    DiagramNumber(
        "title_abstract_reasons", "box5", "record", "Reasons for excluding records", listed=True
    ),
    DiagramNumber("dbr_sought_reports", "box6", "report", "Reports sought for retrieval"),
    DiagramNumber("dbr_notretrieved_reports", "box7", "report", "Reports not retrieved"),
    DiagramNumber("other_sought_reports", "box12", "report", "Reports sought for retrieval"),
    DiagramNumber("other_notretrieved_reports", "box13", "report", "Reports not retrieved"),
    DiagramNumber("dbr_assessed", "box8", "report", "Reports assessed for eligibility"),
    DiagramNumber("dbr_excluded", "box9", "report", "Reports excluded", listed=True),
    DiagramNumber("other_assessed", "box14", "report", "Reports assessed for eligibility"),
    DiagramNumber("other_excluded", "box15", "report", "Reports excluded", listed=True),
    DiagramNumber("new_studies", "box10", "study", "New studies included in review"),
    DiagramNumber("new_reports", "box10", "report", "Reports of new included studies"),
    DiagramNumber("total_studies", "box16", "study", "Total studies included in review"),
    DiagramNumber("total_reports", "box16", "report", "Reports of total included studies"),
    DiagramNumber("total_studies_ma", "box17", "study", "Total studies included in meta-analysis"),
    DiagramNumber(
        "total_reports_ma",
        "box17",
        "report",
        "Reports of total included studies in meta-analysis",
    ),
)
BY_KEY = {value.key: value for value in VALUES}
# In a new review nothing is older, so its templates do not say "new".
_NEW_REVIEW_LABELS = {
    "new_studies": "Studies included in review",
    "new_reports": "Reports of included studies",
}


@dataclass(frozen=True)
class FlowTemplate:
    """One of the four official templates.

    `previous` adds the columns of an updated review, `other` the searches beside databases.
    """

    previous: bool
    other: bool

    @property
    def slug(self) -> str:
        """The name used in addresses: new-v1, new-v2, updated-v1 or updated-v2."""
        return f"{'updated' if self.previous else 'new'}-v{2 if self.other else 1}"

    @property
    def title(self) -> str:
        """The template in words."""
        sources = "databases, registers and other methods" if self.other else "databases, registers"
        return f"{'Updated' if self.previous else 'New'} review: {sources}"

    def column_title(self, arm: Arm) -> str:
        """The wording of the title bar above a column; KeyError for an arm that has no bar."""
        studies = "new studies" if self.previous else "studies"
        return {
            "previous": "Previous studies",
            "databases": f"Identification of {studies} via databases and registers",
            "other": f"Identification of {studies} via other methods",
        }[arm]

    def label(self, value: DiagramNumber) -> str:
        """The official label of a value in this template."""
        if self.previous:
            return value.label
        return _NEW_REVIEW_LABELS.get(value.key, value.label)

    def has(self, arm: Arm) -> bool:
        """Whether the template draws this arm; meta-analysis is an addition to every template."""
        optional = {"previous": self.previous, "other": self.other, "total": self.previous}
        return optional.get(arm, True)


VARIANTS = {
    variant.slug: variant
    for variant in (FlowTemplate(p, o) for p in (False, True) for o in (False, True))
}


@dataclass(frozen=True)
class Entry:
    """What is known of one value: a number, or for a listed value the items it is made of.

    An item is a label with its number, None where only the name is known. `note` holds the
    equation of a derived number and the source of any other. ValueError says what is wrong.
    """

    n: int | None = None
    items: tuple[tuple[str, int | None], ...] = ()
    origin: Origin = "not reported"
    grade: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for number in (self.n, *(n for _, n in self.items)):
            if not _is_count(number):
                raise ValueError(f"{number!r} is not a whole number from 0 to {MAX_N:,}")
        if self.n is not None and self.items:
            raise ValueError("a value is either one number or a list of items")
        if any(not _is_visible(label) for label, _ in self.items):
            raise ValueError("an item has no label")
        if self.origin not in get_args(Origin):
            raise ValueError(f"unknown origin {self.origin!r}")
        if (self.origin == "not reported") != (self.n is None and not self.items):
            raise ValueError(f"origin {self.origin!r} does not fit the number {self.n}")

    @property
    def total(self) -> int | None:
        """The number, or the sum of the items when each of them has one."""
        counts = [n for _, n in self.items if n is not None]
        return sum(counts) if counts and len(counts) == len(self.items) else self.n


def _is_count(number: object) -> bool:
    if number is None:
        return True
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= MAX_N


def _is_visible(text: str) -> bool:
    return any(character.isprintable() and not character.isspace() for character in text)


NOT_REPORTED = Entry()


class DiagramRow(NamedTuple):
    """One line of the table that says the same as the diagram."""

    key: str
    box: str
    stage: Stage
    unit: Unit
    label: str
    n: int | None
    items: tuple[tuple[str, int | None], ...]
    origin: Origin
    grade: str
    note: str


@dataclass(frozen=True)
class Flow:
    """The numbers of one review, by key; ValueError for a key the template does not have."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.entries) - set(BY_KEY))
        if unknown:
            raise ValueError(f"unknown PRISMA key: {', '.join(unknown)}")
        for key, entry in self.entries.items():
            if entry.items and not BY_KEY[key].listed:
                raise ValueError(f"{key} is one number, not a list")
        ordered = {key: self.entries[key] for key in BY_KEY if key in self.entries}
        object.__setattr__(self, "entries", ordered)

    def __getitem__(self, key: str) -> Entry:
        return self.entries.get(key, NOT_REPORTED)

    def n(self, key: str) -> int | None:
        """The number of a value, summed where it is a list; None when it is not reported."""
        return self[key].total

    def shown(self, variant: FlowTemplate) -> list[DiagramNumber]:
        """The values a template shows, in template order.

        Meta-analysis and reasons at the title and abstract stage are in no official template:
        they appear only when there are any.
        """
        return [
            value
            for value in VALUES
            if variant.has(BOXES[value.box].arm)
            and (not _is_addition(value) or self[value.key].origin != "not reported")
        ]

    def as_rows(self, variant: FlowTemplate) -> list[DiagramRow]:
        """The diagram's content as a table, one row for each value the template shows."""
        return [self._row(value, variant) for value in self.shown(variant)]

    def _row(self, value: DiagramNumber, variant: FlowTemplate) -> DiagramRow:
        entry = self[value.key]
        return DiagramRow(
            value.key,
            value.box,
            BOXES[value.box].stage,
            value.unit,
            variant.label(value),
            entry.total,
            entry.items,
            entry.origin,
            entry.grade,
            entry.note,
        )

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain data that JSON can carry; `from_json` gives back the same flow."""
        return {
            key: {
                "n": entry.n,
                "items": [{"label": label, "n": n} for label, n in entry.items],
                "origin": entry.origin,
                "grade": entry.grade,
                "note": entry.note,
            }
            for key, entry in self.entries.items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Flow":
        """The flow that `to_json` wrote; ValueError names the first key that is wrong."""
        entries = {}
        for key, fields in data.items():
            try:
                items = tuple((str(item["label"]), item["n"]) for item in fields["items"])
                entries[key] = Entry(**{**fields, "items": items})
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{key}: {error}") from error
        return cls(entries)


def _is_addition(value: DiagramNumber) -> bool:
    return value.box == "box17" or value.key == "title_abstract_reasons"


def variant_for(flow: Flow) -> FlowTemplate:
    """The smallest template with a place for every number of the flow."""
    arms = {
        BOXES[BY_KEY[key].box].arm
        for key, entry in flow.entries.items()
        if entry.origin != "not reported"
    }
    return FlowTemplate(previous=bool(arms & {"previous", "total"}), other="other" in arms)


class Equation(NamedTuple):
    """A sum that fixes one number: target = plus - minus, under a condition if one is named."""

    code: str
    target: str
    plus: tuple[str, ...]
    minus: tuple[str, ...] = ()
    condition: str = ""

    def missing(self, flow: Flow) -> tuple[str, ...]:
        """The keys on the right-hand side that are not reported."""
        return tuple(key for key in self.plus + self.minus if flow.n(key) is None)

    def value(self, flow: Flow) -> int | None:
        """The right-hand side, which can be negative; None while a number is missing."""
        if self.missing(flow):
            return None
        plus = sum(flow.n(key) or 0 for key in self.plus)
        return plus - sum(flow.n(key) or 0 for key in self.minus)

    def in_numbers(self, flow: Flow) -> str:
        """The right-hand side written out, as in "162 + 0 − 23"; all its numbers are known."""
        terms = [f"+ {flow.n(key)}" for key in self.plus]
        terms += [f"− {flow.n(key)}" for key in self.minus]
        return " ".join(terms).removeprefix("+ ")


_REMOVED = ("duplicates", "excluded_automatic", "excluded_other")
_NONE_DROPPED = "if no earlier study was dropped and no new report belongs to an earlier study"
_DATABASES = (
    Equation("E2", "records_screened", ("database_results", "register_results"), _REMOVED),
    Equation(
        "E3",
        "dbr_sought_reports",
        ("records_screened",),
        ("records_excluded",),
        "if each record kept leads to one report",
    ),
    Equation("E4", "dbr_assessed", ("dbr_sought_reports",), ("dbr_notretrieved_reports",)),
)
_DATABASES_ONLY = (Equation("E5", "new_reports", ("dbr_assessed",), ("dbr_excluded",)),)
_WITH_OTHER = (
    Equation("E6", "other_assessed", ("other_sought_reports",), ("other_notretrieved_reports",)),
    Equation(
        "E9",
        "new_reports",
        ("dbr_assessed", "other_assessed"),
        ("dbr_excluded", "other_excluded"),
        "if no report is counted in both columns",
    ),
)
_UPDATED = (
    Equation("E11", "total_studies", ("previous_studies", "new_studies"), condition=_NONE_DROPPED),
    Equation("E12", "total_reports", ("previous_reports", "new_reports"), condition=_NONE_DROPPED),
)


def equations(variant: FlowTemplate) -> tuple[Equation, ...]:
    """The exact sums of a template, each after those whose result it may use."""
    included = _WITH_OTHER if variant.other else _DATABASES_ONLY
    return _DATABASES + included + (_UPDATED if variant.previous else ())


def derive(flow: Flow, variant: FlowTemplate) -> Flow:
    """The flow with every unreported number that follows exactly from reported ones.

    A derived entry's note is its equation in numbers. Reported numbers are never changed, and
    a sum that comes out negative derives nothing.
    """
    for equation in equations(variant):
        n = equation.value(flow)
        if n is None or not _is_count(n) or flow.n(equation.target) is not None:
            continue
        note = f"{equation.code}: {equation.in_numbers(flow)} = {n} {equation.condition}".strip()
        entry = Entry(n, origin="derived", note=note)
        flow = Flow({**flow.entries, equation.target: entry})
    return flow
