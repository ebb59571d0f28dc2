"""How a number and its unit are written."""


def split_unit(unit: str) -> tuple[str, str]:
    """Return the unit itself and its qualifier: "x (up to)" as ("x", "up to")."""
    base, _, qualifier = unit.partition(" (")
    return base, qualifier.removesuffix(")")


def number(value: float | None) -> str:
    """Return a number without a needless fraction: 25.0 as "25", 1234567 as "1,234,567"."""
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.10g}"


def as_said(value: float, unit: str) -> str:
    """Return the number as its source has it: "up to 25 x" for 25 and "x (up to)"."""
    base, qualifier = split_unit(unit)
    return f"{qualifier} {number(value)} {base}".strip()
