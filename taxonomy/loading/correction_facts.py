"""The shape of corrections.yaml: what a second reading of the records found."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from taxonomy.choices import Objective
from taxonomy.loading.schema import Count, FixtureRecord, Key, Slug, Text


def _several(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


# Of claims; without any, the record of the publication itself is meant.
Positions = Annotated[list[Count], BeforeValidator(_several), Field(min_length=1)]


class About(FixtureRecord):
    """What all entries have: which record, or which of its claims, they are about."""

    publication: Key
    position: Positions | None = None


class Change(About):
    """A field that is changed to `value`, and the source that says so."""

    field: Slug
    value: Text | int
    source: Text
    settles: bool = False


class ObjectiveChange(About):
    position: Positions
    objective: Objective
    settles: bool = False


class StrategyLinks(FixtureRecord):
    publication: Key
    add: Annotated[list[Slug], Field(min_length=1)]


class Doubt(About):
    text: Text


class CorrectionsFile(FixtureRecord):
    apply: list[Change]
    objectives: list[ObjectiveChange]
    strategy_links: list[StrategyLinks]
    doubt: list[Doubt]
