"""How a number, its unit and a span of time are written."""

from datetime import timedelta


def number(value: float | None) -> str:
    """Return a number without a needless fraction: 25.0 as "25", 1234567 as "1,234,567"."""
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.10g}"


def rounded(value: float) -> str:
    """Return a measured number with four significant digits, or with all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def with_spread(value: float, n: int | None, spread: float | None) -> str:
    """Return the number and how sure it is: "1.5 (median of 3, interquartile range 0.02)"."""
    if spread is None:
        return rounded(value)
    return f"{rounded(value)} (median of {n}, interquartile range {rounded(spread)})"


def labelled(name: str, unit: str) -> str:
    """Return a metric's name with its unit: "pruning time (s)"."""
    return f"{name} ({unit})" if unit else name


def duration(span: timedelta) -> str:
    """Return a span of time in one or two units: "4.2 s", "12 s", "3 min 5 s", "2 h 10 min"."""
    seconds = max(0.0, span.total_seconds())
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def as_stated(value: float, unit: str, qualifier: str = "") -> str:
    """Return the number as its source states it: "up to 25 x"."""
    return f"{qualifier} {number(value)} {unit}".strip()
