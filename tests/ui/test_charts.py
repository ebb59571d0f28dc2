"""Charts as data: their scales, the drawing that the server makes, and the Plotly figure."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from django.template.loader import render_to_string
from hypothesis import assume, example, given
from hypothesis import strategies as st

from reviewapp.ui.bars import pieces
from reviewapp.ui.charts import (
    MOST_MARKS,
    Chart,
    Mark,
    Style,
    Trace,
    stride,
    style_for,
    thinned,
    thinning,
)
from reviewapp.ui.marks import key, percent
from reviewapp.ui.plotly import figure
from reviewapp.ui.scales import (
    MOST_DECADES,
    MOST_TICKS,
    Value,
    kind_of,
    logarithmic_axes,
    scale_for,
)
from reviewapp.ui.svg import SMALL_HEIGHT, drawing, thumbnail

EVIL = '"><script>alert(1)</script>&'
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8)
DATES = st.lists(
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    min_size=1,
    max_size=8,
)


def chart(**values: Any) -> Chart:
    return Chart(**{"slug": "it", "title": "It", "table": pd.DataFrame({"A": [1]}), **values})


def parsed(drawn: Chart, draw: Callable[[Chart], str] = drawing) -> ET.Element:
    return ET.fromstring(draw(drawn))  # noqa: S314 - made above


def of_class(svg: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in svg.iter() if name in element.get("class", "").split()]


def at(element: ET.Element, name: str) -> float:
    """A length, in per cent of the width or in pixels."""
    return float(element.get(name, "nan").removesuffix("%"))


def grid(svg: ET.Element) -> ET.Element:
    [found] = of_class(svg, "grid")[:1]
    return found


@given(st.integers(1, 30 * MOST_MARKS))
@example(MOST_MARKS)
@example(MOST_MARKS + 1)
def test_of_many_marks_few_are_drawn_evenly_from_the_first_to_the_last(n: int) -> None:
    marks = thinned(range(n), stride(n))
    assert len(marks) <= MOST_MARKS + 1
    assert (marks[0], marks[-1]) == (0, n - 1)
    assert all(0 < b - a <= stride(n) for a, b in pairwise(marks))
    assert bool(thinning(n)) == (n > MOST_MARKS)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 9_999)), max_size=6))
def test_a_bar_is_divided_from_end_to_end_as_its_numbers_are(parts: list[tuple[str, int]]) -> None:
    some = [(kind, n) for kind, n in parts if n > 0]
    found = pieces(parts)
    assert [piece.kind for piece in found] == [kind for kind, _ in some]
    ends = [0.0, *(piece.start + piece.width for piece in found)]
    assert [piece.start for piece in found] == pytest.approx(ends[:-1], abs=0.02)
    assert not found or ends[-1] == pytest.approx(100, abs=0.02)
    per_cent = sum(n for _, n in some) / 100
    assert [piece.width * per_cent for piece in found] == pytest.approx(
        [n for _, n in some], abs=0.01 * per_cent
    )


# Scales


@given(NUMBERS | DATES, st.booleans())
@example([1e-300, 1.7e308], False)
@example([-1.7e308, 1.7e308], False)
@example([5e-324, 0], True)
def test_every_value_and_tick_lies_on_the_axis_in_order(
    values: list[Value], from_zero: bool
) -> None:
    scale = scale_for(values, from_zero=from_zero and not isinstance(values[0], datetime))
    shares = [scale.share(value) for value in sorted(values)]
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    places = [share for share, _ in scale.ticks]
    assert places == sorted(set(places))
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in places)
    assert len(places) <= MOST_TICKS + 1
    beyond = scale.kind == "log" and max(-scale.low, scale.high) > MOST_DECADES
    if len(places) > 1 and not beyond:
        step = 1.2 * max(b - a for a, b in pairwise(places))
        assert places[0] < step, "there is room for one before the first"
        assert 1 - places[-1] < step, "there is room for one behind the last"


@given(st.lists(st.floats(-1e18, 1e18) | st.integers(-(10**9), 10**9), min_size=2, max_size=5))
@example([1_073_741_824, 1_073_750_000])
@example([1e15, 1.01e15])
@example([1e-7, 2e-7])
def test_a_tick_says_at_what_number_it_stands(values: list[float]) -> None:
    def number(text: str) -> float:
        digits = text.rstrip("MBT")
        size = {"M": 1e6, "B": 1e9, "T": 1e12}.get(text.removeprefix(digits), 1)
        return float(digits.replace(",", "")) * size

    # Beyond ten digits nobody tells numbers apart.
    assume(max(values) - min(values) > 1e-7 * max(map(abs, values)))
    scale = scale_for(values)
    assert [scale.share(number(text)) for _, text in scale.ticks] == pytest.approx(
        [share for share, _ in scale.ticks], abs=0.02
    )


@given(DATES)
@example([NOON, NOON + timedelta(days=700)])
@example([datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 12, 31, tzinfo=UTC)])
def test_a_tick_says_at_what_date_it_stands(values: list[datetime]) -> None:
    scale = scale_for(values)
    years = {value.year + more for value in values for more in (-1, 0, 1)}
    for share, text in scale.ticks:
        if ":" in text:  # which year it is, the others say
            dates = [datetime.strptime(f"{year} {text} Z", "%Y %d %b %H:%M %z") for year in years]
        else:
            form = ("%Y %z", "%b %Y %z", "%d %b %Y %z")[text.count(" ")]
            dates = [datetime.strptime(f"{text} Z", form)]  # noqa: DTZ007 - it is in the form
        assert any(scale.share(date) == pytest.approx(share, abs=1e-6) for date in dates)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1.5, 26], ["5", "10", "15", "20", "25"]),
        ([0, 0.7], ["0", "0.2", "0.4", "0.6"]),
        ([12, 100_000], ["100", "1,000", "10,000", "100,000"]),
        ([0.02, 1.2], ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]),
        ([0, 3e6], ["0", "500,000", "1M", "1.5M", "2M", "2.5M", "3M"]),
        ([NOON, NOON + timedelta(minutes=30)], ["1 Mar 12:05", "1 Mar 12:10", "1 Mar 12:30"]),
        ([NOON, NOON + timedelta(days=2)], ["2 Mar 00:00", "2 Mar 12:00", "3 Mar 00:00"]),
        ([NOON, NOON + timedelta(days=700)], ["Jul 2026", "Jan 2027", "Jul 2027", "Jan 2028"]),
    ],
)
def test_ticks_stand_at_round_values(values: list[Value], labels: list[str]) -> None:
    assert {label for _, label in scale_for(values).ticks} >= set(labels)


def test_only_values_that_could_not_be_told_apart_make_an_axis_logarithmic() -> None:
    assert kind_of([1, 51]) == "log"
    assert kind_of([1, 49]) == "linear"
    assert kind_of([0, 1e6]) == "linear"
    assert kind_of([]) == "linear"
    assert kind_of([NOON, NOON]) == "date"


@pytest.mark.parametrize(
    ("value", "around"), [(50.0, 5.0), (-50.0, 5.0), (1e9, 1e8), (0.5, 0.05), (0.0, 1.0)]
)
def test_a_single_value_stands_in_the_middle_of_what_is_near_it(
    value: float, around: float
) -> None:
    scale = scale_for([value])
    ends = [scale.share(at) for at in (value - around, value, value + around)]
    assert ends == pytest.approx([0, 0.5, 1])
    assert len(scale.ticks) > 3


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([(1, 1), (2, 2)], ""),
        ([(1, 1), (99, 2)], "The horizontal axis is logarithmic."),
        ([(1, 1), (2, 99)], "The vertical axis is logarithmic."),
        ([(1, 1), (99, 99)], "Both axes are logarithmic."),
    ],
)
def test_it_is_said_which_axis_is_logarithmic(
    points: list[tuple[Value, Value]], words: str
) -> None:
    assert logarithmic_axes(points) == words


def test_what_has_a_length_begins_at_zero() -> None:
    bars = chart(kind="bars", traces=[Trace("a", [Mark(1)]), Trace("b", [Mark(1000)])])
    lengths = [float(bar.get("width", "")[:-1]) for bar in of_class(parsed(bars), "bar")]
    assert lengths[0] == pytest.approx(lengths[1] / 1000, abs=0.01)
    assert scale_for([1, 2], from_zero=True).share(0) == 0
    assert scale_for([-1, -2], from_zero=True).share(0) == 1
    assert 0.9 < scale_for([0.1, 0.2], from_zero=True).share(0.2) < 1
    both = scale_for([-1, 2], from_zero=True)
    assert 0 < both.share(-1) < both.share(0) < both.share(2) < 1


# Drawings

LINE = Trace(EVIL, [Mark(x, x, (EVIL,), f"/runs/{x}/") for x in (1, 2)], line="dash")
KINDS = {
    "dots": [Trace(EVIL, [Mark(1, label=(EVIL,)), Mark(2, hollow=True)])],
    "bars": [Trace(f"{EVIL} {n}", [Mark(n, label=(EVIL,), hollow=n > 1)]) for n in (1, 2)],
    "columns": [Trace(EVIL, [Mark(2020 + n, n, (EVIL,)) for n in range(9)])],
    "lines": [LINE, Trace("front", [Mark(1, 1), Mark(2, 2)], Style("soft", ""), "dot", "hv")],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawing_is_well_formed_names_itself_and_shows_what_it_is_given_as_text(
    kind: str,
) -> None:
    drawn = chart(
        kind=kind, title=EVIL, x_label=EVIL, x_note=EVIL, y_label=EVIL, traces=KINDS[kind]
    )
    svg = parsed(drawn)
    assert svg.findtext("title") == EVIL
    named = {element.get("id") for element in svg}
    assert {svg.get("aria-labelledby"), svg.get("aria-describedby")} <= named
    assert not any(element.get("style") for element in svg.iter())
    shapes = [*of_class(svg, "mark"), *of_class(svg, "bar")]
    with_symbol = [trace for trace in drawn.traces if trace.style.symbol]
    assert len(shapes) == sum(len(trace.marks) for trace in with_symbol)
    assert EVIL in {shape.findtext("title") for shape in shapes}


@pytest.mark.parametrize("kind", KINDS)
def test_a_thumbnail_shows_each_trace_of_the_chart_and_no_words(kind: str) -> None:
    small = parsed(chart(kind=kind, title=EVIL, traces=KINDS[kind]), thumbnail)
    assert small.findtext("title") == EVIL
    assert not small.findall(".//text")
    shapes = [part for role in ("mark", "bar", "line") for part in of_class(small, role)]
    assert len(shapes) == (2 if kind == "lines" else sum(len(t.marks) for t in KINDS[kind]))


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
def test_the_rows_of_a_thumbnail_share_its_height_evenly(names: str) -> None:
    drawn = chart(kind="bars", traces=[Trace(name, [Mark(1)]) for name in names])
    bars, step = of_class(parsed(drawn, thumbnail), "bar"), SMALL_HEIGHT / len(names)
    middles = [at(bar, "y") + at(bar, "height") / 2 for bar in bars]
    shares = [middle / step for middle in middles]
    assert shares == pytest.approx([place + 0.5 for place in range(len(names))], abs=0.01)
    assert all(0 < at(bar, "height") < step for bar in bars)


@pytest.mark.parametrize("kind", KINDS)
def test_the_figure_has_the_same_values(kind: str) -> None:
    drawn = chart(kind=kind, traces=KINDS[kind])
    data = [trace for trace in figure(drawn)["data"] if trace.get("mode") != "text"]
    assert [x for trace in data for x in trace["x"]] == [mark.x for mark in drawn.marks]
    assert "<script>" not in str(data)


def test_the_figure_tells_traces_and_marks_apart_as_the_drawing_does() -> None:
    dots, bars, lines = (figure(chart(kind=k, traces=KINDS[k])) for k in ("dots", "bars", "lines"))
    assert dots["data"][0]["marker"]["symbol"] == ["circle", "circle-open"]
    assert bars["data"][0]["marker"]["pattern"]["shape"] == ["", "/"]
    assert [trace["mode"] for trace in lines["data"]] == ["lines+markers", "lines"]
    assert [trace["line"]["dash"] for trace in lines["data"]] == ["dash", "dot"]
    assert [trace["line"]["shape"] for trace in lines["data"]] == ["linear", "hv"]
    unjoined = figure(chart(kind="lines", traces=[Trace("it", [Mark(1, 1)])]))
    assert unjoined["data"][0]["mode"] == "markers"


def test_each_dot_of_the_figure_stands_in_the_row_of_its_trace_and_says_what_it_is() -> None:
    marks = [Mark(n, label=(f"run {n}", "a & b"), href=f"/runs/{n}/") for n in range(3)]
    traces = [Trace("one", marks[:2]), Trace("a name that takes two lines", marks[2:])]
    [dots] = figure(chart(kind="dots", traces=traces))["data"]
    rows = [name.replace("<br>", " ") for name in dots["y"]]
    assert rows == ["one", "one", "a name that takes two lines"]
    assert dots["hovertext"] == [f"run {n}<br>a &amp; b" for n in range(3)]
    assert dots["customdata"] == [mark.href for mark in marks]
    plain = figure(chart(kind="dots", traces=[Trace("one", [Mark(1)])]))["data"][0]
    assert plain["hoverinfo"] == "skip"


def test_names_of_bars_in_the_figure_stand_just_above_their_own_bar() -> None:
    drawn = figure(chart(kind="bars", traces=[Trace(name, [Mark(1)]) for name in "abc"]))
    bars, names = drawn["data"]
    last, first = drawn["layout"]["yaxis"]["range"]  # downwards
    half, bottom = bars["width"] / 2, first
    assert names["text"] == ["a", "b", "c"]
    for bar, name in zip(bars["y"], names["y"], strict=True):
        assert bottom < name <= bar - half
        assert bar - half - name < name - bottom, "it is nearer to its own bar"
        bottom = bar + half
    assert bottom < last <= bars["y"][-1] + 0.5


@pytest.mark.parametrize("kind", ["dots", "bars"])
def test_a_figure_grows_by_the_room_of_a_row_with_each(kind: Any) -> None:
    heights = [
        figure(chart(kind=kind, traces=[Trace("it", [Mark(1)])] * n))["layout"]["height"]
        for n in (1, 2, 3)
    ]
    assert heights[1] - heights[0] == heights[2] - heights[1]
    assert 40 < heights[1] - heights[0] < 50, "a name has up to two lines"
    assert heights[0] > 80, "there is an axis too"


def test_an_axis_of_the_figure_is_marked_within_decades_and_shows_a_moment() -> None:
    def axis(*values: Value) -> dict[str, Any]:
        marks = [Mark(x, 1) for x in values]
        drawn = chart(kind="lines", traces=[Trace("it", marks)], x_label="a < b", x_note="note")
        found: dict[str, Any] = figure(drawn)["layout"]["xaxis"]
        return found

    assert axis(1, 2)["title"]["text"] == "a &lt; b<br>note"
    assert "dtick" in axis(1, 1000)
    assert "dtick" not in axis(1, 1e8)
    assert "dtick" not in axis(1, 2)
    low, high = axis(NOON)["range"]
    assert low < 1000 * NOON.timestamp() < high
    assert high - low <= 1000 * 86_400, "one moment is shown within a day"


def test_a_drawing_is_described_by_its_marks_and_by_up_to_six_names() -> None:
    def described(n: int) -> str:
        traces = [Trace(f"v{place}", [Mark(place, place)]) for place in range(n)]
        return parsed(chart(kind="dots", traces=traces)).findtext("desc", "")

    assert described(1).startswith("1 mark of v0.")
    assert described(6).startswith("6 marks of v0, v1, v2, v3, v4, v5.")
    assert described(7).startswith("7 marks of 7.")
    against = chart(kind="lines", traces=[Trace("it", [Mark(1, 1)])], x_label="size", y_label="s")
    assert "of it. s against size. The table" in parsed(against).findtext("desc", "")


def test_marks_grid_lines_and_the_line_that_joins_them_agree_on_each_place() -> None:
    marks = [Mark(1, 1), Mark(2, 5), Mark(4, 2)]
    svg = parsed(chart(kind="lines", traces=[Trace("it", marks, line="solid")]))
    found = of_class(svg, "mark")
    places = [(float(m.get("x", "")[:-1]), float(m.get("y", ""))) for m in found]
    plot = next(inner for inner in svg.iter() if inner.get("viewBox") == "0 0 1000 1000")
    top, height = float(plot.get("y", "")), float(plot.get("height", ""))
    [line] = of_class(svg, "line")
    points = [point.split(",") for point in line.get("points", "").split()]
    for (x, y), (along, down) in zip(places, points, strict=True):
        assert x == pytest.approx(float(along) / 10, abs=0.1)
        assert y == pytest.approx(top + height * float(down) / 1000, abs=0.5)
    ticks = {text.text: float(text.get("y", "")) - 4 for text in of_class(svg, "end")}
    assert [y for _, y in places] == pytest.approx([ticks[str(mark.y)] for mark in marks])
    assert ticks["5"] < ticks["2"] < ticks["1"]
    assert {at(text, "dx") < 0 for text in of_class(svg, "end")} == {True}, "left of the axis"
    across = {text.text: at(text, "x") for text in of_class(svg, "middle")}
    assert [x for x, _ in places] == [across[str(mark.x)] for mark in marks]
    vertical = [line for line in grid(svg).iter("line") if line.get("x1")]
    assert [at(line, "x1") for line in vertical] == [*across.values()]
    assert {(line.get("x2"), at(line, "y1"), at(line, "y2")) for line in vertical} == {
        (line.get("x1"), top, top + height) for line in vertical
    }
    assert all(at(text, "y") > top + height for text in of_class(svg, "middle"))
    small = parsed(chart(kind="lines", traces=[Trace("it", marks)]), thumbnail)
    assert [at(m, "x") for m in of_class(small, "mark")] == [x for x, _ in places]
    assert [at(m, "y") / SMALL_HEIGHT for m in of_class(small, "mark")] == pytest.approx(
        [(y - top) / height for _, y in places], abs=0.01
    )


def test_marks_with_an_address_are_links_and_neighbours_to_the_same_are_one() -> None:
    marks = [Mark(n, n, (f"point {n}",), "/runs/1/" if n < 3 else "/runs/2/") for n in range(5)]
    svg = parsed(chart(kind="lines", traces=[Trace("it", marks)]))
    links = {a.get("href"): len(of_class(a, "mark")) for a in svg.iter("a")}
    assert links == {"/runs/1/": 3, "/runs/2/": 2}
    assert svg.get("role") == "group"
    unlinked = parsed(chart(kind="lines", traces=[Trace("it", [Mark(1, 1)])]))
    assert unlinked.get("role") == "img"


def test_hollow_marks_and_hatched_bars_are_told_apart() -> None:
    dots, bars = (parsed(chart(kind=kind, traces=KINDS[kind])) for kind in ("dots", "bars"))
    assert ["hollow" in dot.get("class", "") for dot in of_class(dots, "mark")] == [False, True]
    assert [bar.get("fill") for bar in of_class(bars, "bar")] == [None, "url(#it-hatch)"]
    assert dots.find(".//pattern") is None
    assert bars.find("pattern[@id='it-hatch']") is not None


@pytest.mark.parametrize("kind", ["dots", "lines"])
def test_a_whisker_reaches_from_its_low_to_its_high_end(kind: str) -> None:
    marks = [Mark(2, 2, whisker=(1, 4)), Mark(1, 1), Mark(4, 4)]
    drawn = chart(kind=kind, traces=[Trace("it", marks)])
    svg = parsed(drawn)
    [whisker] = of_class(svg, "whisker")
    dot, low, high = of_class(svg, "mark")
    along, beside = ("x", "y") if kind == "dots" else ("y", "x")
    ends = [at(whisker, f"{along}{end}") for end in (1, 2)]
    assert ends == [at(low, along), at(high, along)]
    assert [at(whisker, f"{beside}{end}") for end in (1, 2)] == [at(dot, beside)] * 2
    alone = chart(kind=kind, traces=[Trace("it", marks[:1])])
    scale = alone.across if kind == "dots" else alone.up
    assert 0 < scale.share(1) < scale.share(4) < 1
    if kind == "lines":
        assert alone.across.share(2) == pytest.approx(0.5), "what is measured up is not one across"
    error = figure(drawn)["data"][0]["error_x" if kind == "dots" else "error_y"]
    assert (error["arrayminus"][0], error["array"][0]) == (1, 2)


def test_what_bars_are_held_against_is_a_line_within_the_axis() -> None:
    drawn = chart(kind="bars", traces=[Trace("a", [Mark(0.25)])], reference=1)
    [line] = of_class(parsed(drawn), "reference")
    assert line.get("x1") == line.get("x2") == percent(drawn.across.share(1))
    assert drawn.across.share(0.25) < drawn.across.share(1) < 1
    [shape] = figure(drawn)["layout"]["shapes"]
    assert shape["x0"] == shape["x1"] == 1


@pytest.mark.parametrize("step", ["hv", "vh"])
def test_a_step_goes_along_one_axis_at_a_time(step: Any) -> None:
    marks = [Mark(0, 0), Mark(1, 1), Mark(2, 3)]
    svg = parsed(chart(kind="lines", traces=[Trace("it", marks, line="dot", step=step)]))
    [line] = svg.iter("polyline")
    points = [tuple(map(int, point.split(","))) for point in line.get("points", "").split()]
    turns = ["v" if x0 == x1 else "h" for (x0, y0), (x1, y1) in pairwise(points)]
    assert "".join(turns) == step * 2
    for (x0, y0), (x1, y1) in pairwise(points):
        assert (x0 == x1) != (y0 == y1)


def test_a_long_line_is_whole_but_has_a_symbol_here_and_there() -> None:
    marks = [Mark(x, x, (f"point {x}",)) for x in range(1000)]
    svg = parsed(chart(kind="lines", traces=[Trace("it", marks, line="solid")]))
    [line] = svg.iter("polyline")
    assert len(line.get("points", "").split()) == 1000
    assert 30 < len(of_class(svg, "mark")) <= 40
    unjoined = parsed(chart(kind="lines", traces=[Trace("it", marks)]))
    assert len(of_class(unjoined, "mark")) == 1000


def test_faint_lines_lie_below_the_others_and_are_thinner() -> None:
    def line(name: str, *, faint: bool) -> Trace:
        return Trace(name, [Mark(1, 1), Mark(2, 2)], Style(), "solid", faint=faint)

    drawn = chart(kind="lines", traces=[line("a", faint=False), line("b", faint=True)])
    lines = of_class(parsed(drawn), "line")
    assert ["faint" in part.get("class", "").split() for part in lines] == [True, False]
    bold, thin = figure(drawn)["data"]
    assert thin["line"]["width"] < bold["line"]["width"]
    assert thin["marker"]["size"] < bold["marker"]["size"]


@pytest.mark.parametrize("kind", ["dots", "bars"])
def test_each_row_stands_below_its_name_and_above_the_next(kind: str) -> None:
    names = ["one", "A name that is too long for a single line of a narrow chart", "another"]
    traces = [Trace(name, [Mark(n)]) for n, name in enumerate(names, 1)]
    svg = parsed(chart(kind=kind, traces=traces, x_label="seconds", x_note="of one run"))
    assert " ".join(part.text or "" for part in of_class(svg, "name")) == " ".join(names)
    bottom, above, gaps = 0.0, "", []
    for part in svg.iter():
        role = part.get("class", "").partition(" ")[0]
        if role in ("name", "mark", "bar"):
            # Letters reach ten above their line and three below, a mark six from its middle.
            top = at(part, "y") - {"name": 10, "mark": 6}.get(role, 0)
            gaps.append((above, role, top - bottom))
            bottom = top + {"name": 13, "mark": 12}.get(role, at(part, "height"))
            above = role
    assert all(gap >= 0 for _, _, gap in gaps)
    to_own = max(gap for above, role, gap in gaps if above == "name" and role != "name")
    to_next = min(gap for above, role, gap in gaps if role == "name" and above not in ("", "name"))
    assert to_own < to_next
    lines = list(grid(svg).iter("line"))
    assert {(at(line, "y1"), at(line, "y2") >= bottom) for line in lines} == {(0, True)}
    below = [at(text, "y") for text in grid(svg).iter("text")][-3:]
    assert at(lines[0], "y2") + 10 < below[0]
    assert all(b - a > 12 for a, b in pairwise(below))
    assert below[-1] < at(svg, "height")
    if kind == "dots":
        rows = of_class(svg, "row")
        ends = [(at(row, "y1"), at(row, "y2"), row.get("x2")) for row in rows]
        assert ends == [(at(mark, "y"), at(mark, "y"), "100%") for mark in of_class(svg, "mark")]


def test_bars_of_less_and_of_more_than_nothing_meet_at_zero() -> None:
    drawn = chart(kind="bars", traces=[Trace("a", [Mark(-1)]), Trace("b", [Mark(2)])])
    for draw in (drawing, thumbnail):
        less, more = of_class(parsed(drawn, draw), "bar")
        assert at(less, "x") + at(less, "width") == pytest.approx(at(more, "x"), abs=0.02)
        assert at(more, "width") == pytest.approx(2 * at(less, "width"), abs=0.02)


@pytest.mark.parametrize("n", [2, 8, 9])
def test_columns_stand_evenly_on_a_line_between_their_numbers_and_their_names(n: int) -> None:
    marks = [Mark(2010 + place, place % 4 + 1) for place in range(n)]
    drawn = chart(kind="columns", traces=[Trace("it", marks)])
    svg, small = parsed(drawn), parsed(drawn, thumbnail)
    [base] = of_class(svg, "base")
    columns = of_class(svg, "bar")
    middles = [at(column, "x") + at(column, "width") / 2 for column in columns]
    half = middles[0]
    assert middles == pytest.approx([half * (1 + 2 * place) for place in range(n)], abs=0.1)
    assert 0 < at(columns[0], "width") < 2 * half
    assert n < 6 or middles[-1] + half == pytest.approx(100, abs=0.1)
    assert base.get("x2") == "100%"
    assert {at(base, "y1"), at(base, "y2")} == {at(c, "y") + at(c, "height") for c in columns}
    for drawn_columns, foot in ((columns, at(base, "y1")), (of_class(small, "bar"), SMALL_HEIGHT)):
        heights = [at(column, "height") for column in drawn_columns]
        assert heights == pytest.approx([heights[0] * mark.y for mark in marks], abs=0.3)
        assert [foot - at(column, "y") for column in drawn_columns] == pytest.approx(heights)
        assert max(heights) > 0.9 * max(foot / 2, 40)
    for name in ("x", "width"):
        assert [at(c, name) for c in of_class(small, "bar")] == [at(c, name) for c in columns]
    numbers, names = of_class(svg, "number"), of_class(svg, "middle")
    assert [number.text for number in numbers] == [str(mark.y) for mark in marks]
    assert [at(number, "x") for number in numbers] == pytest.approx(middles, abs=0.02)
    assert all(
        0 < at(c, "y") - at(number, "y") < 12 for c, number in zip(columns, numbers, strict=True)
    )
    every = 2 if n == 9 else 1
    assert [name.text for name in names] == [str(mark.x) for mark in marks[::every]]
    assert [at(name, "x") for name in names] == pytest.approx(middles[::every], abs=0.02)
    assert all(at(base, "y1") + 10 < at(name, "y") < at(svg, "height") for name in names)


def test_where_there_are_many_ticks_every_second_can_give_way() -> None:
    def spare(*values: float) -> list[bool]:
        svg = parsed(chart(kind="dots", traces=[Trace("it", [Mark(x) for x in values])]))
        return ["spare" in text.get("class", "").split() for text in of_class(svg, "middle")]

    assert spare(0, 0.7) == [False, True, False, True]
    assert spare(0, 13.3) == [False] * 3


def test_a_legend_shows_line_and_mark_on_the_middle_of_its_key() -> None:
    drawn = ET.fromstring(key(Trace("it", [], line="dash")))  # noqa: S314 - made above
    [line], [mark] = of_class(drawn, "line"), of_class(drawn, "mark")
    middle = (at(drawn, "width") / 2, at(drawn, "height") / 2)
    assert (at(mark, "x"), at(mark, "y")) == middle
    assert (at(line, "x2"), at(line, "y1"), at(line, "y2")) == (2 * middle[0], *[middle[1]] * 2)
    assert "dash" in line.get("class", "").split()
    assert not of_class(ET.fromstring(key(Trace("it", []))), "line")  # noqa: S314


def test_the_page_shows_how_to_read_it_and_the_table() -> None:
    shown = render_to_string(
        "ui/_chart.html",
        {"chart": chart(kind="dots", traces=KINDS["dots"], look_for="The gap.", note="Note.")},
    )
    assert shown.index("The gap.") < shown.index("Note.") < shown.index("<svg")
    assert '<th scope="col">A</th>' in shown
    assert "<script>alert" not in shown


def test_traces_of_one_name_share_one_entry_of_the_legend() -> None:
    traces = [Trace(name, [Mark(1, 1)], style_for(n)) for n, name in enumerate("aba")]
    drawn = chart(kind="lines", traces=traces)
    assert [trace.name for trace in drawn.legend] == ["a", "b"]
    assert [trace["showlegend"] for trace in figure(drawn)["data"]] == [True, True, False]
    layout = figure(drawn)["layout"]
    assert layout["showlegend"], "also of a single trace"
    assert 1 < layout["legend"]["y"] < 1.1, "it stands just above the axes"


def test_thirty_six_variants_look_different() -> None:
    assert len({style_for(place) for place in range(36)}) == 36
