"""The shape of claims.yaml: what this project found out about each claim, checked field by field.

fixtures/README.md describes the file. All of it is checked, also what is not loaded yet.
"""

import datetime
from collections.abc import Container
from typing import Annotated, Self

from pydantic import Field, RootModel, model_validator

from taxonomy.choices import (
    BaselineKind,
    DeviceNamed,
    Phase,
    Qualifier,
    RatioRule,
    Replicability,
    Scope,
    Sureness,
)
from taxonomy.loading.schema import Count, FixtureRecord, Key, Number, Slug, Text

Positive = Annotated[Number, Field(gt=0)]
Many = Annotated[int, Field(gt=0, strict=True)]


class SecondReading(FixtureRecord):
    """What a second reader, who had not seen the first reading, made of the claim."""

    scope: Scope
    strategies: list[Slug]
    agrees: bool
    doubt: Text | None = None


class Attribution(FixtureRecord):
    """Which strategies the number is an effect of, and how it was isolated."""

    scope: Scope
    strategies: list[Slug]
    missing_strategy: list[Slug] = []
    why: Text
    confidence: Sureness
    second_reading: SecondReading | None = None


class HardwareFacts(FixtureRecord):
    name: Text
    count: Many | None
    memory_gb: Positive | None


class ModelFacts(FixtureRecord):
    name: Text
    parameters_billion: Positive | None
    parameters_billion_range: (
        Annotated[list[Positive | None], Field(min_length=2, max_length=2)] | None
    ) = None

    @property
    def at_most_billion(self) -> float | None:
        return self.parameters_billion_range[1] if self.parameters_billion_range else None


class FormerRuleRow(FixtureRecord):
    """A rule that was replaced: when, why, and whether after a result existed."""

    rule: Text
    written: datetime.date
    blind: bool
    replaced: datetime.date
    reason: Text
    after_result: bool


class Replication(FixtureRecord):
    """Whether a small run could speak to the claim, and the rule that was written before any."""

    testable: Replicability
    study: Slug | None = None
    measure: Text | None = None
    rule: Text | None = None
    written: datetime.date | None = None
    blind: bool | None = None
    former: list[FormerRuleRow] = []
    second_reading: Replicability | None = None

    @model_validator(mode="after")
    def has_a_rule_where_testable(self) -> Self:
        parts = (self.study, self.measure, self.rule, self.written, self.blind)
        given = sum(part is not None for part in parts)
        if given != (0 if self.testable == Replicability.NO else len(parts)):
            raise ValueError(
                "a testable claim needs study, measure, rule, written and blind; another has none"
            )
        return self


class ClaimFacts(FixtureRecord):
    """The entry of one claim, found by publication, position (from 0) and metric."""

    publication: Key
    position: Count
    metric: Text
    attribution: Attribution
    quantity: Slug
    phase: Phase
    unit: Text
    qualifier: Qualifier
    ratio: Positive | None = None
    ratio_rule: RatioRule
    ratio_how: Text
    ratio_readings: Annotated[list[Positive], Field(min_length=1)] | None = None
    derivable_ratio: Text | None = None
    baseline_kind: BaselineKind | None = None
    baseline_hardware: list[HardwareFacts] = []
    hardware: list[HardwareFacts] = []
    hardware_implied: list[HardwareFacts] = []
    hardware_alternatives: bool = False
    hardware_count_range: tuple[Many, Many] | None = None
    hardware_note: Text | None = None
    model: list[ModelFacts] = []
    range_with: Count | None = None
    range_other_end: Number | None = None
    part: Slug | None = None
    pattern: Slug | None = None
    percentile: Text | None = None
    job: Text | None = None
    task: Text | None = None
    benchmark: Text | None = None
    note: Text | None = None
    doubt: Text | None = None
    replication: Replication

    @model_validator(mode="after")
    def has_a_ratio_where_its_rule_gives_one(self) -> Self:
        if (self.ratio is None) != (self.ratio_rule in ("ambiguous", "none")):
            raise ValueError(f"ratio: the rule “{self.ratio_rule}” does not fit")
        if (self.ratio_readings is None) != (self.ratio_rule != "ambiguous"):
            raise ValueError("ratio_readings: only an ambiguous wording has several")
        return self

    @model_validator(mode="after")
    def has_another_end_where_it_is_one(self) -> Self:
        is_end = self.qualifier in (Qualifier.RANGE_LOW, Qualifier.RANGE_HIGH)
        if is_end != (self.range_with is not None or self.range_other_end is not None):
            raise ValueError("only the end of a range needs range_with or range_other_end")
        return self

    @property
    def strategies(self) -> list[str]:
        """Return every strategy that the entry names, in either reading."""
        first, second = self.attribution, self.attribution.second_reading
        again = second.strategies if second else []
        return [*first.strategies, *first.missing_strategy, *again]

    @property
    def device_gb(self) -> float | None:
        """Return the most memory of its stated and implied devices, in GB; None if none is known.

        Of alternatives it is the least.
        """
        sizes = [device.memory_gb for device in (*self.hardware, *self.hardware_implied)]
        known = [size for size in sizes if size is not None]
        return (min if self.hardware_alternatives else max)(known, default=None)

    @property
    def parameters_billion(self) -> float | None:
        """Return the size of the largest model, or its upper bound; None if neither is known."""
        sizes = (m.parameters_billion or m.at_most_billion for m in self.model)
        return max((size for size in sizes if size is not None), default=None)

    def device_named(self, kinds: Container[str]) -> DeviceNamed:
        """Return what the claim states of its devices, where these names are kinds of device."""
        if not self.hardware:
            return DeviceNamed.NONE
        products = any(device.name not in kinds for device in self.hardware)
        return DeviceNamed.PRODUCT if products else DeviceNamed.KIND


class ClaimsFile(RootModel[list[ClaimFacts]]):
    """An entry for each claim of publications.jsonl."""
