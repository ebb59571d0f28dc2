"""The shape of quantities.yaml: what claims measure and when two of them share an axis."""

from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from taxonomy.choices import AxisKind, BaselineKind, Direction, Phase, Qualifier, RatioRule
from taxonomy.choices import QuantityGroup as Group
from taxonomy.loading.schema import FixtureRecord, Number, Slug, Text

Positive = Annotated[Number, Field(gt=0)]
Facet = Literal["phase", "part", "job", "benchmark", "unit"]
Unit = Annotated[str, Field(min_length=1, max_length=50)]


class UnitRow(FixtureRecord):
    ucum: Text
    family: Text
    factor_to_base: Positive | None
    meaning: Text


class QuantityRow(FixtureRecord):
    """A quantity; `match` names what else two claims must share to stand on one axis."""

    slug: Slug
    group: Group
    name: Text
    definition: Text
    unit_family: Text
    direction: Direction
    axis: AxisKind
    axis_unit: Unit
    match: list[Facet]
    show: list[Text]
    comparable: Text
    related: dict[Slug, Text] = {}


class QuantitiesFile(FixtureRecord):
    about: Text
    axis_rule: Text
    phases: dict[Phase, Text]
    qualifiers: dict[Qualifier, Text]
    baseline_kinds: dict[BaselineKind, Text]
    ratio_rules: dict[RatioRule, Text]
    units: dict[Unit, UnitRow]
    device_kinds: list[Text]
    quantities: list[QuantityRow]

    @model_validator(mode="after")
    def names_units_and_quantities_that_it_has(self) -> Self:
        slugs = [row.slug for row in self.quantities]
        if repeated := {slug for slug in slugs if slugs.count(slug) > 1}:
            raise ValueError(f"quantities: {', '.join(sorted(repeated))} stands here twice")
        for row in self.quantities:
            if row.axis_unit not in self.units:
                raise ValueError(f"quantities: {row.slug}: unknown unit {row.axis_unit}")
            for slug in row.related.keys() - set(slugs):
                raise ValueError(f"quantities: {row.slug}: unknown quantity {slug}")
        return self

    @cached_property
    def by_slug(self) -> dict[str, QuantityRow]:
        return {row.slug: row for row in self.quantities}

    def in_unit(self, value: float, unit: str, wanted: str) -> float | None:
        """Return the value, which has this unit, in the unit wanted; None where it has none."""
        if unit == wanted:
            return value
        old, new = self.units[unit], self.units[wanted]
        if old.family != new.family or old.factor_to_base is None or new.factor_to_base is None:
            return None
        return value * old.factor_to_base / new.factor_to_base
