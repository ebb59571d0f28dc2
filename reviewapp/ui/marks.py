"""The parts that drawings of charts share: marks, whiskers, texts, and the key of a legend."""

from html import escape

from django.utils.safestring import SafeString, mark_safe

from reviewapp.ui.charts import Mark, Trace

# Around the middle of each mark, in pixels.
SYMBOLS = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "square": "M-4-4h8v8h-8z",
    "diamond": "M0-5.6L5.6 0 0 5.6-5.6 0z",
    "triangle": "M0-5.2L5.2 4h-10.4z",
    "cross": "M-1.8-5h3.6v3.2h3.2v3.6h-3.2v3.2h-3.6v-3.2h-3.2v-3.6h3.2z",
    "star": "M0-6L1.7-1.9 6-1.9 2.6.9 3.8 5.2 0 2.6-3.8 5.2-2.6.9-6-1.9-1.7-1.9z",
}


def key(trace: Trace) -> SafeString:
    """Return what the line and the marks of a trace look like, for a legend."""
    parts = []
    if trace.line:
        parts.append(tag("line", x2=31, y1=7, y2=7, class_=classes("line", trace)))
    if trace.style.symbol:
        path = tag("path", d=SYMBOLS[trace.style.symbol])
        parts.append(tag("svg", path, x=15.5, y=7, class_=classes("mark", trace)))
    svg = tag("svg", *parts, class_="legend-key", width=31, height=14, aria_hidden="true")
    return mark_safe(svg)  # noqa: S308 - tag escapes attributes; there is no text


def linked(mark: Mark, drawn: str) -> str:
    return tag("a", drawn, href=mark.href, aria_label=", ".join(mark.label)) if mark.href else drawn


def symbol(trace: Trace, mark: Mark, share: float, y: float) -> str:
    path = tag("path", d=SYMBOLS[trace.style.symbol])
    shown = classes("mark", trace) + " hollow" * mark.hollow
    return tag("svg", tooltip(mark), path, x=percent(share), y=y, class_=shown)


def whisker(trace: Trace, x: tuple[float, float], y: tuple[float, float]) -> str:
    (x1, x2), (y1, y2) = map(percent, x), y
    return tag("line", x1=x1, x2=x2, y1=y1, y2=y2, class_=classes("whisker", trace))


def classes(role: str, trace: Trace) -> str:
    """Return the classes that give a part of a trace its colour, its dashes and its weight."""
    line = trace.line if role == "line" else ""
    return " ".join(filter(None, [role, trace.style.tone, line, "faint" * trace.faint]))


def tooltip(mark: Mark) -> str:
    return tag("title", escape("\n".join(mark.label))) if mark.label else ""


def text(content: str, **attributes: object) -> str:
    return tag("text", escape(content), **attributes)


def percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def tag(name: str, *content: str, **attributes: object) -> str:
    """Return an element; content is markup. `class_` is class, `aria_label` is aria-label."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(content)}</{name}>"
