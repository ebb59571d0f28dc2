"""A chart as one <svg>, drawn in a millisecond, which needs no script.

It has no width of its own: lengths across are per cent, so that it fills its place while text and
marks keep their size; charts.css gives the margins, and the colours of both themes. Plain Python,
as libraries for this draw for a fixed width and write their colours as style attributes, which
the Content-Security-Policy forbids.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby, pairwise

from django.utils.safestring import SafeString, mark_safe

from reviewapp.ui.charts import Chart, Mark, Trace
from reviewapp.ui.marks import classes, linked, percent, symbol, tag, text, tooltip, whisker

LINE_HEIGHT = 16  # of text, in pixels like all heights
NARROW = 46  # characters in a line of the narrowest chart
BAR, GAP = 12, 12
PLOT_TOP, PLOT_HEIGHT, COLUMNS_HEIGHT, SMALL_HEIGHT = 28, 270, 150, 56
FEW_TICKS, MOST_COLUMN_NAMES = 3, 8
MOST_SYMBOLS = 40  # on one line: of more, every second, third or so is shown
FEWEST_COLUMNS = 6  # one or two alone would be drawn as blocks


def drawing(chart: Chart) -> SafeString:
    """Return the chart as an <svg> element."""
    draw = {"dots": _rows, "bars": _rows, "columns": _columns, "lines": _lines}[chart.kind]
    content, height = draw(chart)
    title, description = f"{chart.slug}-title", f"{chart.slug}-desc"
    svg = tag(
        "svg",
        tag("title", escape(chart.title), id=title),
        tag("desc", _described(chart), id=description),
        content,
        class_=f"drawing {chart.kind}",
        height=height,
        # Links would be lost inside of an image.
        role="group" if any(mark.href for mark in chart.marks) else "img",
        aria_labelledby=title,
        aria_describedby=description,
    )
    return mark_safe(svg)  # noqa: S308 - tag escapes attributes, all text is escaped


def _described(chart: Chart) -> str:
    """Return in a sentence what the picture holds."""
    marks = f"{len(chart.marks)} mark{'s' * (len(chart.marks) != 1)}"
    names = list(dict.fromkeys(trace.name for trace in chart.traces if trace.name))
    of = f" of {', '.join(names)}" if 0 < len(names) <= 6 else f" of {len(names)}" if names else ""
    axes = [label for label in (chart.y_label, chart.x_label) if label]
    return escape(
        f"{marks}{of}. {' against '.join(axes)}{'.' * bool(axes)} The table below has the numbers."
    )


# Rows


def _rows(chart: Chart) -> tuple[str, int]:
    """Return each trace’s name with its marks in a row below, and the height of it all."""
    hatch = tag(
        "pattern",
        tag("path", d="M0 6L6 0"),
        id=f"{chart.slug}-hatch",
        class_="hatch",
        width=6,
        height=6,
        patternUnits="userSpaceOnUse",
    )
    parts, top = [hatch] if chart.kind == "bars" else [], 0
    for trace in chart.traces:
        for line in textwrap.wrap(trace.name, NARROW, max_lines=2, placeholder="…"):
            top += LINE_HEIGHT
            parts.append(text(line, y=top - 4, class_="name"))
        middle = top + BAR // 2 + 3
        if chart.kind == "dots":
            parts.append(tag("line", x2="100%", y1=middle, y2=middle, class_="row"))
        draw = _bar if chart.kind == "bars" else _dot
        parts += [draw(chart, trace, mark, middle) for mark in trace.marks]
        top = middle + BAR // 2 + GAP
    grid = _vertical_grid(chart, 0, top)
    return "".join([grid, _reference(chart, top), *parts]), top + _height_below(chart)


def _reference(chart: Chart, bottom: int) -> str:
    if chart.reference is None:
        return ""
    x = percent(chart.across.share(chart.reference))
    return tag("line", x1=x, x2=x, y2=bottom, class_="reference")


def _bar(chart: Chart, trace: Trace, mark: Mark, middle: int) -> str:
    bar = tag(
        "rect",
        tooltip(mark),
        **_along(chart, mark),
        y=middle - BAR // 2,
        height=BAR,
        class_=f"bar {trace.style.tone}",
        fill=f"url(#{chart.slug}-hatch)" if mark.hollow else None,
    )
    return linked(mark, bar)


def _along(chart: Chart, mark: Mark) -> dict[str, str]:
    """Return where a bar from nothing to the mark lies across the chart."""
    start, end = sorted((chart.across.share(0), chart.across.share(mark.x)))
    return {"x": percent(start), "width": percent(end - start)}


def _dot(chart: Chart, trace: Trace, mark: Mark, middle: int) -> str:
    across = chart.across
    drawn = symbol(trace, mark, across.share(mark.x), middle)
    if mark.whisker:
        low, high = map(across.share, mark.whisker)
        drawn = whisker(trace, (low, high), (middle, middle)) + drawn
    return linked(mark, drawn)


# Two axes


def _columns(chart: Chart) -> tuple[str, int]:
    """Return a column for each mark, with its number above and its name below."""
    marks, bottom = chart.marks, PLOT_TOP + COLUMNS_HEIGHT
    step = 1 / max(len(marks), FEWEST_COLUMNS)
    every = math.ceil(len(marks) / MOST_COLUMN_NAMES)
    parts = [tag("line", x2="100%", y1=bottom, y2=bottom, class_="base")]
    for place, mark in enumerate(marks):
        height = round(COLUMNS_HEIGHT * chart.up.share(mark.y), 1)
        middle = percent((place + 0.5) * step)
        column = tag(
            "rect",
            tooltip(mark),
            x=percent((place + 0.15) * step),
            y=bottom - height,
            width=percent(0.7 * step),
            height=height,
            class_=f"bar {chart.traces[0].style.tone}",
        )
        parts.append(linked(mark, column))
        parts.append(text(f"{mark.y:,.10g}", x=middle, y=bottom - height - 5, class_="number"))
        if place % every == 0:
            parts.append(text(str(mark.x), x=middle, y=bottom + LINE_HEIGHT, class_="middle"))
    return "".join(parts), bottom + _height_below(chart)


def _lines(chart: Chart) -> tuple[str, int]:
    """Return the marks of all traces, those that belong together joined."""
    bottom = PLOT_TOP + PLOT_HEIGHT
    grid = [_vertical_grid(chart, PLOT_TOP, bottom), _horizontal_grid(chart)]
    # Faint traces lie below the others.
    ordered = sorted(chart.traces, key=lambda trace: not trace.faint)
    lines = [_polyline(chart, trace) for trace in ordered if trace.line]
    joined = _stretched(lines, PLOT_TOP, PLOT_HEIGHT)
    marks = [part for trace in ordered for part in _marks(chart, trace)]
    return "".join([*grid, joined, *marks]), bottom + _height_below(chart)


def _stretched(lines: Sequence[str], top: int, height: int) -> str:
    """Return polylines of a thousand units each way, stretched over their place."""
    box = "0 0 1000 1000"
    return tag("svg", *lines, y=top, height=height, viewBox=box, preserveAspectRatio="none")


def _marks(chart: Chart, trace: Trace) -> Iterator[str]:
    """Yield the marks of a trace; neighbours that lead to the same address are one link."""
    if not trace.style.symbol:
        return
    every = math.ceil(len(trace.marks) / MOST_SYMBOLS) if trace.line else 1
    for _, together in groupby(trace.marks[::every], key=lambda mark: mark.href):
        marks = list(together)
        yield linked(marks[0], "".join(_placed(chart, trace, mark) for mark in marks))


def _placed(chart: Chart, trace: Trace, mark: Mark) -> str:
    x = chart.across.share(mark.x)
    drawn = symbol(trace, mark, x, _height(chart, mark.y))
    if mark.whisker:
        low, high = (_height(chart, end) for end in mark.whisker)
        drawn = whisker(trace, (x, x), (low, high)) + drawn
    return drawn


def _height(chart: Chart, value: float) -> float:
    return round(PLOT_TOP + PLOT_HEIGHT * (1 - chart.up.share(value)), 1)


def _polyline(chart: Chart, trace: Trace) -> str:
    points = [(chart.across.share(mark.x), 1 - chart.up.share(mark.y)) for mark in trace.marks]
    path = " ".join(f"{1000 * x:.0f},{1000 * y:.0f}" for x, y in _stepped(points, trace.step))
    return tag("polyline", points=path, class_=classes("line", trace))


def _stepped(points: Sequence[tuple[float, float]], step: str) -> list[tuple[float, float]]:
    if not step or not points:
        return list(points)
    path = [points[0]]
    for (x0, y0), (x1, y1) in pairwise(points):
        path += [(x1, y0) if step == "hv" else (x0, y1), (x1, y1)]
    return path


# Without words or axes


def thumbnail(chart: Chart) -> SafeString:
    """Return the marks of the chart alone, small, to stand beside what says what they are."""
    draw = {"dots": _small_rows, "bars": _small_rows, "columns": _small_columns}
    svg = tag(
        "svg",
        tag("title", escape(chart.title)),
        draw.get(chart.kind, _small_lines)(chart),
        class_="thumbnail",
        height=SMALL_HEIGHT,
        role="img",
    )
    return mark_safe(svg)  # noqa: S308 - tag escapes attributes, all text is escaped


def _small_rows(chart: Chart) -> str:
    parts, step = [], SMALL_HEIGHT / max(len(chart.traces), 1)
    for place, trace in enumerate(chart.traces):
        middle, height = round((place + 0.5) * step, 1), round(min(BAR, 0.7 * step), 1)
        for mark in trace.marks:
            if chart.kind == "dots":
                parts.append(symbol(trace, mark, chart.across.share(mark.x), middle))
            else:
                y = round(middle - height / 2, 1)
                tone = f"bar {trace.style.tone}"
                parts.append(tag("rect", **_along(chart, mark), y=y, height=height, class_=tone))
    return "".join(parts)


def _small_columns(chart: Chart) -> str:
    step = 1 / max(len(chart.marks), FEWEST_COLUMNS)
    heights = [round(SMALL_HEIGHT * chart.up.share(mark.y), 1) for mark in chart.marks]
    return "".join(
        tag(
            "rect",
            x=percent((place + 0.15) * step),
            y=round(SMALL_HEIGHT - height, 1),
            width=percent(0.7 * step),
            height=height,
            class_=f"bar {chart.traces[0].style.tone}",
        )
        for place, height in enumerate(heights)
    )


def _small_lines(chart: Chart) -> str:
    lines = [_polyline(chart, trace) for trace in chart.traces if trace.line]
    marks = [
        symbol(
            trace,
            mark,
            chart.across.share(mark.x),
            round(SMALL_HEIGHT * (1 - chart.up.share(mark.y)), 1),
        )
        for trace in chart.traces
        if trace.style.symbol and not trace.line
        for mark in trace.marks
    ]
    return "".join([_stretched(lines, 0, SMALL_HEIGHT), *marks])


# Axes


def _vertical_grid(chart: Chart, top: int, bottom: int) -> str:
    parts, ticks = [], chart.across.ticks
    for n, (share, label) in enumerate(ticks):
        x = percent(share)
        # A narrow chart has no room for every one.
        spare = " spare" if len(ticks) > FEW_TICKS and n % 2 else ""
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom))
        parts.append(text(label, x=x, y=bottom + LINE_HEIGHT, class_=f"middle{spare}"))
    for line, label in enumerate(_below(chart), start=2):
        parts.append(text(label, x="100%", y=bottom + line * LINE_HEIGHT + 4, class_="end label"))
    return tag("g", *parts, class_="grid", aria_hidden="true")


def _horizontal_grid(chart: Chart) -> str:
    parts = [text(chart.y_label, y=12, class_="label up")]
    for share, label in chart.up.ticks:
        y = round(PLOT_TOP + PLOT_HEIGHT * (1 - share), 1)
        parts.append(tag("line", x2="100%", y1=y, y2=y))
        parts.append(text(label, dx=-8, y=y + 4, class_="end"))
    return tag("g", *parts, class_="grid", aria_hidden="true")


def _below(chart: Chart) -> list[str]:
    return [label for label in (chart.x_label, chart.x_note) if label]


def _height_below(chart: Chart) -> int:
    return LINE_HEIGHT * (1 + len(_below(chart))) + 8
