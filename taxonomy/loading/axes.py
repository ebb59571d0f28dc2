"""Where a claim stands: the axis of its quantity, and the number on it."""

from dataclasses import dataclass

from taxonomy.choices import AxisKind, RatioRule
from taxonomy.loading.claim_facts import ClaimFacts
from taxonomy.loading.quantity_facts import QuantitiesFile, QuantityRow

UNIT = "unit"


def factor(rule: RatioRule, value: float) -> float | None:
    """Return the factor in the good direction that the rule makes of a number; None without one."""
    if rule == RatioRule.FACTOR:
        return value
    if rule == RatioRule.LESS and value < 100:
        return 1 / (1 - value / 100)
    if rule == RatioRule.MORE:
        return 1 + value / 100
    if rule == RatioRule.SHARE and value > 0:
        return 100 / value
    return None


@dataclass(frozen=True)
class AxisKey:
    """What claims on one axis share; what the quantity does not match is empty."""

    quantity: str
    phase: str = ""
    part: str = ""
    job: str = ""
    benchmark: str = ""
    unit: str = ""


def axis_of(quantity: QuantityRow, facts: ClaimFacts) -> AxisKey:
    """Return the axis that the claim stands on."""
    return AxisKey(quantity.slug, **{name: getattr(facts, name) or "" for name in quantity.match})


def on_axis(
    file: QuantitiesFile, quantity: QuantityRow, facts: ClaimFacts, value: float
) -> float | None:
    """Return where a number of the claim stands on its axis; None where it cannot be drawn."""
    if quantity.axis == AxisKind.RATIO:
        return factor(facts.ratio_rule, value)
    wanted = facts.unit if UNIT in quantity.match else quantity.axis_unit
    return file.in_unit(value, facts.unit, wanted)
