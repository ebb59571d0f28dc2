"""Apply corrections.yaml to what the other files say, and keep what each correction replaced."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from taxonomy.choices import RemarkKind
from taxonomy.loading.claim_facts import ClaimFacts
from taxonomy.loading.correction_facts import (
    About,
    Change,
    CorrectionsFile,
    ObjectiveChange,
    StrategyLinks,
)
from taxonomy.loading.problems import LineOf, Problems
from taxonomy.loading.schema import FixtureRecord, PublicationRow

FILE = "corrections.yaml"
OWN_ASSIGNMENT = "this project's own assignment"
OWN_FILING = "this project's own filing"
# What may be corrected, and in which file it stands.
OF_PUBLICATION = {"month"}
OF_CLAIM = {"baseline", "objective", "source"}
OF_CLAIM_FACTS = {"qualifier"}

Loc = tuple[int | str, ...]
Record = TypeVar("Record", bound=FixtureRecord)
Facts = dict[tuple[str, int], ClaimFacts]


@dataclass(frozen=True)
class Remarked:
    """A doubt or a correction, and the record or claim (by position) that it is about."""

    publication: str
    position: int | None
    kind: RemarkKind
    text: str
    field: str = ""
    before: str = ""
    source: str = ""
    settled: bool = False


@dataclass(frozen=True)
class Records:
    """What may be corrected: publications by key, facts of claims; and the strategies there are."""

    rows: dict[str, PublicationRow]
    facts: Facts
    strategies: set[str]


def correct(
    records: Records, file: CorrectionsFile, line_of: LineOf, problems: Problems
) -> list[Remarked]:
    """Change the records as the file says; return all remarks, those of claims.yaml first.

    What the file names and nobody else does is added to the problems.
    """
    correcting = _Correcting(records, line_of, problems)
    for i, change in enumerate(file.apply):
        correcting.change(change, ("apply", i))
    for i, row in enumerate(file.objectives):
        correcting.change(_as_change(row), ("objectives", i))
    for i, links in enumerate(file.strategy_links):
        correcting.add_links(links, ("strategy_links", i))
    for i, doubt in enumerate(file.doubt):
        for position in correcting.places(doubt, ("doubt", i)):
            correcting.remark(Remarked(doubt.publication, position, RemarkKind.DOUBT, doubt.text))
    return [*correcting.first_doubts(), *correcting.remarks]


def _as_change(row: ObjectiveChange) -> Change:
    return Change(
        publication=row.publication,
        position=row.position,
        field="objective",
        value=row.objective,
        source=OWN_ASSIGNMENT,
        settles=row.settles,
    )


class _Correcting:
    """The records while they are corrected, and what is remarked on the way."""

    def __init__(self, records: Records, line_of: LineOf, problems: Problems) -> None:
        self.remarks: list[Remarked] = []
        self._records, self._line_of, self._problems = records, line_of, problems
        self._settled: set[tuple[str, int | None]] = set()

    def remark(self, remark: Remarked) -> None:
        self.remarks.append(remark)

    def places(self, about: About, place: Loc) -> Iterator[int | None]:
        """Yield the positions that the entry is about, None for the record; report unknown ones."""
        row = self._row(about.publication, place)
        if row is None:
            return
        if about.position is None:
            yield None
        for position in about.position or []:
            if position < len(row.claims):
                yield position
            else:
                self._report(place, f"{about.publication}-{position}: unknown claim")

    def change(self, change: Change, place: Loc) -> None:
        """Change the field wherever the entry says, and remark it."""
        for position in self.places(change, place):
            try:
                before = self._set(change, position)
            except (ValidationError, LookupError):
                self._report(place, f"{change.field}: cannot be {change.value!r} here")
                continue
            self.remark(
                Remarked(
                    change.publication,
                    position,
                    RemarkKind.CORRECTION,
                    str(change.value),
                    field=change.field,
                    before=str(before or ""),
                    source=change.source,
                )
            )
            if change.settles:
                self._settled.add((change.publication, position))

    def _set(self, change: Change, position: int | None) -> Any:
        """Change one field and return what it was; raise LookupError where there is none such."""
        row, facts = self._records.rows[change.publication], self._records.facts
        if position is None and change.field in OF_PUBLICATION:
            before = getattr(row, change.field)
            checked = _with(row, change.field, change.value)
            setattr(row, change.field, getattr(checked, change.field))
        elif position is not None and change.field in OF_CLAIM:
            before = getattr(row.claims[position], change.field)
            row.claims[position] = _with(row.claims[position], change.field, change.value)
        elif position is not None and change.field in OF_CLAIM_FACTS:
            place = (change.publication, position)
            before = getattr(facts[place], change.field)
            facts[place] = _with(facts[place], change.field, change.value)
        else:
            raise LookupError(change.field)
        return before

    def add_links(self, links: StrategyLinks, place: Loc) -> None:
        """File the publication under more strategies."""
        row = self._row(links.publication, place)
        for slug in links.add if row else []:
            if slug not in self._records.strategies:
                self._report(place, f"{slug}: unknown strategy")
            elif slug in row.strategies:  # type: ignore[union-attr]
                self._report(place, f"{links.publication} is filed under {slug} already")
            else:
                row.strategies.append(slug)  # type: ignore[union-attr]
                kind, field = RemarkKind.CORRECTION, "strategies"
                self.remark(Remarked(links.publication, None, kind, slug, field, "", OWN_FILING))

    def first_doubts(self) -> Iterator[Remarked]:
        """Yield the doubts of claims.yaml."""
        for place, facts in self._records.facts.items():
            if facts.doubt:
                settled = place in self._settled
                yield Remarked(*place, RemarkKind.DOUBT, facts.doubt, settled=settled)

    def _row(self, key: str, place: Loc) -> PublicationRow | None:
        row = self._records.rows.get(key)
        if row is None:
            self._report(place, f"{key}: unknown publication")
        return row

    def _report(self, place: Loc, what: str) -> None:
        self._problems.add(FILE, self._line_of(place), what)


def _with(record: Record, field: str, value: object) -> Record:
    """Return the record with one field changed, checked anew."""
    return type(record).model_validate(record.model_dump(exclude_unset=True) | {field: value})
