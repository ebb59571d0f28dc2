"""A chart as a Plotly figure, in plain JSON values; charts.js adds the theme's colours.

Building the dictionaries directly takes a hundredth of the time of Plotly's own classes.
"""

import textwrap
from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from typing import Any

from reviewapp.ui.charts import Chart, Mark, Trace
from reviewapp.ui.scales import Scale, Value

Figure = dict[str, Any]
# Beyond so many powers of ten, an axis has no room for other labels than these.
MANY_DECADES = 5
LONGEST_NAME = 52  # of a bar, in characters; a narrow chart has no room for more


def figure(chart: Chart) -> Figure:
    """Return the figure of a chart of any kind."""
    draw: dict[str, Callable[[Chart], Figure]] = {
        "dots": _dots,
        "bars": _bars,
        "columns": _columns,
        "lines": _lines,
    }
    return draw[chart.kind](chart)


def _dots(chart: Chart) -> Figure:
    """Return all dots as one trace: the row a dot stands in, not its colour, names its trace."""
    name = {id(s): "<br>".join(map(escape, textwrap.wrap(s.name, 18))) for s in chart.traces}
    dots = {
        **_points(chart.marks, [_symbol(s, m) for s in chart.traces for m in s.marks]),
        "y": [name[id(s)] for s in chart.traces for _ in s.marks],
        "mode": "markers",
        **_whiskers("x", [mark.x for mark in chart.marks], chart.marks),
    }
    dots["marker"] |= {"size": 11, "opacity": 0.75}
    layout = {
        "height": 90 + 42 * len(chart.traces),
        "showlegend": False,
        "xaxis": _axis(chart.across, chart.x_label, chart.x_note),
        "yaxis": {"autorange": "reversed", "type": "category"},
    }
    return {"data": [dots], "layout": layout}


def _bars(chart: Chart) -> Figure:
    """Return one bar for each trace, first on top, with its name over it: names are long."""
    places = list(range(len(chart.traces)))
    marks = chart.marks
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [mark.x for mark in marks],
        "y": places,
        "width": 0.34,
        "marker": {"pattern": {"shape": ["/" if m.hollow else "" for m in marks], "size": 6}},
        **_hover(marks),
    }
    names = [textwrap.shorten(trace.name, LONGEST_NAME, placeholder="…") for trace in chart.traces]
    labels = {
        "type": "scatter",
        "mode": "text",
        "x": [0] * len(marks),
        "y": [place - 0.19 for place in places],
        "text": [escape(name) for name in names],
        "textposition": "top right",
        "cliponaxis": False,
        "hoverinfo": "skip",
    }
    layout = {
        "height": 46 * len(marks) + 50 + 20 * bool(chart.x_label),
        "showlegend": False,
        "shapes": _reference(chart),
        "xaxis": {**_axis(chart.across, chart.x_label, chart.x_note), "rangemode": "tozero"},
        "yaxis": {"visible": False, "range": [len(marks) - 0.5, -0.75], "fixedrange": True},
    }
    return {"data": [bars, labels], "layout": layout}


def _reference(chart: Chart) -> list[Figure]:
    if chart.reference is None:
        return []
    ends = {"x0": chart.reference, "x1": chart.reference, "y0": 0, "y1": 1, "yref": "paper"}
    line = {"dash": "dash", "width": 1.5}
    return [{"type": "line", "layer": "below", "line": line, **ends}]


def _columns(chart: Chart) -> Figure:
    marks = chart.marks
    numbers = [mark.y for mark in marks]
    columns = {"type": "bar", "x": [m.x for m in marks], "y": numbers, "text": numbers}
    layout = {"height": 240, "xaxis": {"dtick": 1}, "yaxis": {"rangemode": "tozero", "nticks": 5}}
    return {"data": [{**columns, **_hover(marks)}], "layout": layout}


def _lines(chart: Chart) -> Figure:
    named = [id(trace) for trace in chart.legend]
    layout = {
        "height": 400,
        "xaxis": _axis(chart.across, chart.x_label, chart.x_note),
        "yaxis": _axis(chart.up, chart.y_label),
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "showlegend": True,
    }
    return {"data": [_trace(s, id(s) in named) for s in chart.traces], "layout": layout}


def _trace(trace: Trace, named: bool) -> Figure:
    """Return one trace with its marks and its line; the legend has an entry where it is `named`."""
    symbols, lines = bool(trace.style.symbol), bool(trace.line)
    drawn = {
        **_points(trace.marks, [_symbol(trace, mark) for mark in trace.marks]),
        "y": [mark.y for mark in trace.marks],
        "name": escape(trace.name),
        "legendgroup": escape(trace.name),
        "showlegend": named,
        "mode": "+".join(["lines"] * lines + ["markers"] * symbols),
        "line": {
            "dash": trace.line or "solid",
            "width": 1 if trace.faint else 2,
            "shape": trace.step or "linear",
        },
        "meta": {"colour": trace.style.tone},
        **_whiskers("y", [mark.y for mark in trace.marks], trace.marks),
    }
    drawn["marker"]["size"] = 6 if trace.faint else 8 if lines else 12
    return drawn


def _points(marks: Sequence[Mark], symbols: list[str]) -> Figure:
    return {
        "type": "scatter",
        "x": [_plain(mark.x) for mark in marks],
        "marker": {"symbol": symbols},
        **_hover(marks),
    }


def _hover(marks: Sequence[Mark]) -> Figure:
    if not any(mark.label for mark in marks):
        return {"hoverinfo": "skip"}
    return {
        "hovertext": ["<br>".join(map(escape, mark.label)) for mark in marks],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "customdata": [mark.href for mark in marks],
    }


def _whiskers(along: str, values: Sequence[Any], marks: Sequence[Mark]) -> Figure:
    """Return the whiskers as lengths from the values, which is how Plotly wants them."""
    if not any(mark.whisker for mark in marks):
        return {}
    ends = [mark.whisker or (value, value) for value, mark in zip(values, marks, strict=True)]
    return {
        f"error_{along}": {
            "type": "data",
            "symmetric": False,
            "array": [high - value for value, (_, high) in zip(values, ends, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(values, ends, strict=True)],
        }
    }


def _symbol(trace: Trace, mark: Mark) -> str:
    symbol = {"triangle": "triangle-up", "": "circle"}.get(trace.style.symbol, trace.style.symbol)
    return f"{symbol}-open" if mark.hollow else symbol


def _plain(value: Value) -> float | str:
    return value.isoformat() if isinstance(value, datetime) else value


def _axis(scale: Scale, *label: str) -> Figure:
    text = "<br>".join(escape(line) for line in label if line)
    drawn: Figure = {"type": scale.kind, "title": {"text": text, "font": {"size": 13}}}
    if scale.kind == "log" and scale.high - scale.low < MANY_DECADES:
        drawn["dtick"] = "D2"  # labels at 1, 2 and 5
    if scale.kind == "date":
        # Around a single moment Plotly's own axis would count milliseconds.
        drawn["range"] = [1000 * scale.low, 1000 * scale.high]
    return drawn
