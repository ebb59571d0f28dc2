"""The PRISMA 2020 flow diagram as a drawing: an SVG, and the PNG and PDF made from it.

Structure and wording are those of the official templates: stage bands on the left, a title bar on
each column, boxes for what not every review has in grey. Colours are presentation attributes,
which any style rule of a page overrides. The classes are prisma-page, prisma-bar, prisma-band,
prisma-box, prisma-optional (beside -bar or -box, where it is grey), prisma-line, prisma-head,
prisma-text and prisma-note.
"""

import re
from collections.abc import Iterable, Mapping
from xml.etree import ElementTree as ET

from reviewapp.corpus.prisma.flow import BOXES, Arm, Flow, FlowTemplate
from reviewapp.corpus.prisma.layout import (
    AS_IT_IS,
    LINE,
    NOTE_SIZE,
    PAD,
    SIZE,
    Layout,
    Line,
    Shape,
    clean,
    layout,
)
from reviewapp.corpus.prisma.presentation import Presentation
from reviewapp.rendering import renderer

# All three have the same widths, and the converter brings the last one with it.
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
MAX_PIXELS = 50_000_000
MAX_PDF_POINTS = 14_400

_WHITE, _BLACK, _GREY = "#ffffff", "#000000", "#e4e4e4"
_YELLOW, _BLUE, _DARK_GREY = "#ffc425", "#a9cbe8", "#d0d0d0"
_NOTE_COLOUR = "#4a4a4a"
_OPTIONAL: frozenset[Arm] = frozenset({"previous", "other", "total", "meta-analysis"})
_RIGHT = (
    ("box2", "box3"),
    ("box4", "box5"),
    ("box6", "box7"),
    ("box8", "box9"),
    ("box12", "box13"),
    ("box14", "box15"),
)
_DOWN = (
    ("box2", "box4"),
    ("box4", "box6"),
    ("box6", "box8"),
    ("box8", "box10"),
    ("box11", "box12"),
    ("box12", "box14"),
    ("box10", "box16"),
)
_AROUND_A_CORNER = (("box1", "box16"), ("box14", "box10"))
_SIZE_ATTRIBUTES = re.compile(r'width="([0-9]+)" height="([0-9]+)"')
_HEAD = 7.0

_Points = list[tuple[float, float]]


def svg(
    flow: Flow,
    variant: FlowTemplate,
    *,
    title: str,
    links: Mapping[str, str] | None = None,
    drawn_as: Presentation = AS_IT_IS,
) -> str:
    """The diagram of a flow in one of the four templates, as a standalone SVG document.

    `links` maps a box ("box4") to the address of the records behind it. Every box can be reached
    by keyboard and says its content; each number says whether it is reported, derived, or neither.
    """
    plan = layout(flow, variant, drawn_as)
    root = _root(plan, title, f"PRISMA 2020 flow diagram. {variant.title}.")
    for band in plan.bands.values():
        _draw_band(root, band)
    for arm, bar in plan.bars.items():
        _draw_bar(root, bar, arm in _OPTIONAL)
    for points in _arrows(plan.boxes):
        _draw_arrow(root, points)
    for name, box in plan.boxes.items():
        _draw_box(root, box, BOXES[name].arm, (links or {}).get(name))
    _draw_lines(root, plan.footer.lines, plan.footer.x, plan.footer.y)
    return ET.tostring(root, encoding="unicode")


def png(svg: str, *, dpi: float | None = None, scale: float | None = None) -> bytes:
    """The diagram as an image at a dpi from 72 to 600, or at a scale from 0.5 to 4 (1 is 96 dpi).

    300 dpi where neither is given. ValueError for both, for a value out of range, for an image of
    more than MAX_PIXELS, and for one that takes too much to render; Busy.
    """
    if dpi is not None and scale is not None:
        raise ValueError("choose a dpi or a scale, not both")
    if dpi is not None and not 72 <= dpi <= 600:
        raise ValueError("the dpi must be from 72 to 600")
    if scale is not None and not 0.5 <= scale <= 4:
        raise ValueError("the scale must be from 0.5 to 4")
    resolution = 96 * scale if scale else dpi or 300
    width, height = _size(svg)
    if width * height * (resolution / 96) ** 2 > MAX_PIXELS:
        raise ValueError(_too_many_pixels(width, height))
    return renderer.png(svg, resolution)


def _too_many_pixels(width: int, height: int) -> str:
    most = int(96 * (MAX_PIXELS / (width * height)) ** 0.5)
    vector = "the PDF and the SVG are sharp at any size"
    if height * 72 / 96 > MAX_PDF_POINTS:
        vector = "the SVG is sharp at any size"
    if most < 72:
        return f"This diagram is too long for an image of {MAX_PIXELS:,} pixels; {vector}."
    return f"This diagram can have at most {most} dpi ({MAX_PIXELS:,} pixels); {vector}."


def pdf(svg: str) -> bytes:
    """The diagram as a vector PDF of one page, its text selectable and 9 points high.

    ValueError for a diagram that is longer than a PDF page can be, and for one that takes too much
    to render; Busy.
    """
    # The converter makes every pixel a point, so the page is given its size in points.
    width, height = (pixels * 72 / 96 for pixels in _size(svg))
    if height > MAX_PDF_POINTS:
        raise ValueError("The diagram is too long for a page of a PDF. Ask for the SVG.")
    points = f'width="{width}" height="{height}"'
    return renderer.pdf(_SIZE_ATTRIBUTES.sub(points, svg, count=1))


def _size(svg: str) -> tuple[int, int]:
    found = _SIZE_ATTRIBUTES.search(svg)
    if found is None:
        raise ValueError("not a diagram")
    return int(found[1]), int(found[2])


def _root(plan: Layout, title: str, description: str) -> ET.Element:
    width, height = f"{plan.width:.0f}", f"{plan.height:.0f}"
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "width": width,
            "height": height,
            "viewBox": f"0 0 {width} {height}",
            "class": "prisma-diagram",
            "font-family": FONT,
            "font-size": f"{SIZE:g}",
            "role": "group",
            "aria-labelledby": "prisma-title prisma-description",
        },
    )
    _add(root, "title", clean(title), id="prisma-title")
    _add(root, "desc", description, id="prisma-description")
    _add(root, "rect", class_="prisma-page", width=width, height=height, fill=_WHITE)
    return root


def _add(parent: ET.Element, tag: str, text: str = "", **attributes: str | float) -> ET.Element:
    """A child element; `stroke_width=1.0` becomes stroke-width="1", and `class_` class."""
    written = {
        name.rstrip("_").replace("_", "-"): value if isinstance(value, str) else f"{value:g}"
        for name, value in attributes.items()
    }
    element = ET.SubElement(parent, tag, written)
    element.text = text or None
    return element


def _draw_shape(parent: ET.Element, shape: Shape, css: str, fill: str, radius: float) -> None:
    _add(
        parent,
        "rect",
        class_=css,
        x=shape.x,
        y=shape.y,
        width=shape.width,
        height=shape.height,
        rx=radius,
        fill=fill,
        stroke=_BLACK,
    )


def _draw_band(root: ET.Element, band: Shape) -> None:
    _draw_shape(root, band, "prisma-band", _BLUE, 5)
    y = band.y + band.height / 2
    first = band.x + (band.width - (len(band.lines) - 1) * LINE) / 2
    for place, line in enumerate(band.lines):
        _add(
            root,
            "text",
            line.text,
            class_="prisma-text",
            transform=f"translate({first + place * LINE:g} {y:g}) rotate(-90)",
            dy=SIZE * 0.35,
            text_anchor="middle",
            font_weight="bold",
            fill=_BLACK,
        )


def _draw_bar(root: ET.Element, bar: Shape, optional: bool) -> None:
    css = "prisma-bar prisma-optional" if optional else "prisma-bar"
    _draw_shape(root, bar, css, _DARK_GREY if optional else _YELLOW, 5)
    y = bar.y + (bar.height - sum(line.height for line in bar.lines)) / 2
    for line in bar.lines:
        _add(
            root,
            "text",
            line.text,
            class_="prisma-text",
            x=bar.x + bar.width / 2,
            y=y + SIZE * 0.95,
            text_anchor="middle",
            font_weight="bold",
            fill=_BLACK,
        )
        y += line.height


def _draw_box(root: ET.Element, box: Shape, arm: Arm, link: str | None) -> None:
    """A box that announces its content as one text; the drawing below is not read again."""
    spoken = f"Other methods: {box.text}" if arm == "other" else box.text
    if link is None:
        group = _add(root, "g", tabindex="0", role="group", aria_label=spoken)
    else:
        group = _add(root, "a", href=link, aria_label=spoken)
    drawing = _add(group, "g", aria_hidden="true")
    optional = arm in _OPTIONAL
    css = "prisma-box prisma-optional" if optional else "prisma-box"
    _draw_shape(drawing, box, css, _GREY if optional else _WHITE, 0)
    _draw_lines(drawing, box.lines, box.x + PAD, box.y + PAD)


def _draw_lines(parent: ET.Element, lines: Iterable[Line], x: float, y: float) -> None:
    for line in lines:
        size, colour = (NOTE_SIZE, _NOTE_COLOUR) if line.note else (SIZE, _BLACK)
        text = _add(
            parent,
            "text",
            line.text,
            class_="prisma-note" if line.note else "prisma-text",
            x=x + line.indent,
            y=y + size * 0.95,
            fill=colour,
        )
        if line.note:
            text.set("font-size", f"{size:g}")
        y += line.height


def _arrows(boxes: Mapping[str, Shape]) -> Iterable[_Points]:
    """The corners of every arrow whose two boxes are drawn."""
    included = "box16" if "box16" in boxes else "box10"
    for name, side in _RIGHT:
        if name in boxes and side in boxes:
            yield _to_the_right(boxes[name], boxes[side])
    for name, below in (*_DOWN, (included, "box17")):
        if name in boxes and below in boxes:
            centre = boxes[name].x + boxes[name].width / 2
            yield [(centre, boxes[name].bottom), (centre, boxes[below].y)]
    for name, target in _AROUND_A_CORNER:
        if name in boxes:
            yield _around(boxes[name], boxes[target])


def _to_the_right(box: Shape, side: Shape) -> _Points:
    y = box.y + min(box.height, side.height) / 2
    return [(box.right, y), (side.x, y)]


def _around(box: Shape, target: Shape) -> _Points:
    centre, y = box.x + box.width / 2, target.y + target.height / 2
    end = target.x if centre < target.x else target.right
    return [(centre, box.bottom), (centre, y), (end, y)]


def _draw_arrow(root: ET.Element, points: _Points) -> None:
    """A line with a filled head; markers would be shorter, but not every editor draws them."""
    (x0, y0), (x, y) = points[-2:]
    length = abs(x - x0) + abs(y - y0)
    dx, dy = (x - x0) / length, (y - y0) / length
    base = (x - dx * _HEAD, y - dy * _HEAD)
    side = (dy * _HEAD / 2, dx * _HEAD / 2)
    head = [(x, y), (base[0] + side[0], base[1] + side[1]), (base[0] - side[0], base[1] - side[1])]
    _add(
        root,
        "polyline",
        class_="prisma-line",
        points=_written([*points[:-1], base]),
        fill="none",
        stroke=_BLACK,
    )
    _add(root, "polygon", class_="prisma-head", points=_written(head), fill=_BLACK)


def _written(points: _Points) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
