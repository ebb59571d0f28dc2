"""Numbers, and spans of time, as they are written."""

import re
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reviewapp.ui.units import duration, number, rounded, with_spread

SECONDS = {"s": 1, "min": 60, "h": 3600}


@given(st.floats(0, 1e6))
@example(59.5)
@example(3_599.5)
@example(9.96)
def test_a_span_of_time_is_written_in_its_largest_units(seconds: float) -> None:
    span = timedelta(seconds=seconds)
    said, seconds = duration(span), span.total_seconds()
    parts = [(float(n), unit) for n, unit in re.findall(r"([0-9.]+) (\w+)", said)]
    least = SECONDS[parts[-1][1]]
    exact = 0.1 if "." in said else least
    assert abs(sum(n * SECONDS[unit] for n, unit in parts) - seconds) <= exact
    assert all(n < 60 for n, unit in parts if unit != "h")
    assert parts[0][0] > 0 or len(parts) == 1
    assert len(parts) == (1 if seconds < 59.5 else 2)


def test_a_clock_that_was_set_back_shows_no_time_rather_than_less() -> None:
    assert duration(timedelta(seconds=-5)) == "0.0 s"
    assert duration(timedelta(seconds=9.9)) == "9.9 s"
    assert duration(timedelta(seconds=10)) == "10 s"


@given(st.floats(-1e9, 1e9))
def test_four_digits_say_what_was_measured(value: float) -> None:
    said = float(rounded(value).replace(",", ""))
    assert said == pytest.approx(value, rel=0.0005001, abs=1e-300)
    assert len(re.sub("[^0-9]", "", rounded(value).partition("e")[0]).lstrip("0")) <= max(
        4, len(f"{abs(value):.0f}")
    )


def test_numbers_are_written_whole_where_they_are() -> None:
    assert [number(n) for n in (25.0, 1_234_567, 0.25, None)] == ["25", "1,234,567", "0.25", ""]
    assert [rounded(n) for n in (1234.56, -1234.56, 1.23456)] == ["1,235", "-1,235", "1.235"]
    assert [rounded(n) for n in (123.456, -999.4)] == ["123.5", "-999.4"]
    assert with_spread(1.5, 3, 0.02) == "1.5 (median of 3, interquartile range 0.02)"
    assert with_spread(1.5, 1, None) == "1.5"
