import io
import math
import re
import struct
import time
from dataclasses import dataclass, field
from itertools import combinations, pairwise, takewhile
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from pypdf import PdfReader

from reviewapp.corpus.prisma.drawing import pdf, png, svg
from reviewapp.corpus.prisma.flow import BOXES, VALUES, VARIANTS, Entry, Flow, FlowTemplate, derive
from reviewapp.corpus.prisma.layout import layout
from reviewapp.corpus.prisma.presentation import BAND_ROWS, BAR_ROWS, Presentation
from reviewapp.rendering.scripts import sentence
from tests.corpus.prisma_flows import FILLED, REVIEW, any_label, declared, flows, listed

WITH_META = Flow({**FILLED.entries, **declared(total_studies_ma=31).entries})
REASONS = [(f"A reason that needs more than a single line, number {n}", n) for n in range(30)]
WITH_A_LONG_LIST = Flow({**WITH_META.entries, "dbr_excluded": listed(*REASONS)})
NS = "{http://www.w3.org/2000/svg}"
EACH_VARIANT = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - the diagram's own output


def drawn(flow: Flow, variant: str) -> ET.Element:
    return parsed(svg(flow, VARIANTS[variant], title="Flow of the review"))


def size(root: ET.Element) -> tuple[float, float]:
    return float(root.get("width", "")), float(root.get("height", ""))


def words(root: ET.Element) -> str:
    return " ".join(element.text or "" for element in root.iter(f"{NS}text"))


@dataclass(frozen=True)
class Drawn:
    """A shape as it is drawn, and where its lines of text are anchored."""

    css: str
    left: float
    top: float
    right: float
    bottom: float
    anchors: list[tuple[float, float]] = field(default_factory=list)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def holds(self, x: float, y: float) -> bool:
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    def is_left_at(self, x: float, y: float) -> bool:
        """Whether the point is on an edge and on no corner."""
        between = (self.left < x < self.right, self.top < y < self.bottom)
        at_an_end = (x in (self.left, self.right), y in (self.top, self.bottom))
        return (between[0] and at_an_end[1]) or (at_an_end[0] and between[1])


def shapes(root: ET.Element) -> list[Drawn]:
    found: list[Drawn] = []
    notes = notes_below(root)
    for element in root.iter():
        css = element.get("class", "").split()[:1]
        if element.tag == f"{NS}rect" and css != ["prisma-page"]:
            x, y, width, height = (float(element.get(n, "")) for n in ("x", "y", "width", "height"))
            found.append(Drawn(css[0], x, y, x + width, y + height))
        elif element.tag == f"{NS}text" and element not in notes:
            turned = re.match(r"translate\((\S+) (\S+)\)", element.get("transform", ""))
            at = turned.groups() if turned else (element.get("x", ""), element.get("y", ""))
            found[-1].anchors.append((float(at[0]), float(at[1])))
    return found


def notes_below(root: ET.Element) -> list[ET.Element]:
    """Return the texts that follow all shapes and belong to none."""
    return list(takewhile(lambda element: element.tag == f"{NS}text", reversed(root)))


@EACH_VARIANT
def test_texts_stand_in_their_shapes_and_those_of_bands_and_bars_in_the_middle(variant):
    for shape in shapes(parsed(svg(FILLED, variant, title="t"))):
        assert shape.anchors
        assert all(shape.holds(x, y) for x, y in shape.anchors), shape
        (across, along), n = shape.centre, len(shape.anchors)
        if shape.css == "prisma-band":
            assert {y for _, y in shape.anchors} == {along}
            # A line's anchor is in its middle, but for the half letter below its text.
            assert sum(x for x, _ in shape.anchors) / n == pytest.approx(across)
        elif shape.css == "prisma-bar":
            assert {x for x, _ in shape.anchors} == {across}
            assert sum(y for _, y in shape.anchors) / n == pytest.approx(along, abs=5)


@EACH_VARIANT
def test_each_arrow_leads_from_the_edge_of_a_box_to_that_of_another(variant):
    root = parsed(svg(WITH_A_LONG_LIST, variant, title="t"))
    boxes = [shape for shape in shapes(root) if shape.css == "prisma-box"]
    lines, heads = (
        [
            [tuple(map(float, pair.split(","))) for pair in element.get("points", "").split()]
            for element in root.iter()
            if element.get("class", "").split()[:1] == [css]
        ]
        for css in ("prisma-line", "prisma-head")
    )
    for line, (tip, *base) in zip(lines, heads, strict=True):
        starts = [box for box in boxes if box.is_left_at(*line[0])]
        ends = [box for box in boxes if box.is_left_at(*tip)]
        assert len(starts) == len(ends) == 1, (line, tip)
        assert starts != ends
        middles = [[sum(axis) / 2 for axis in zip(*ends, strict=True)] for ends in pairwise(line)]
        crossed = [box for box in boxes for point in (line[-1], *middles) if box.holds(*point)]
        assert not crossed, "the arrow crosses a box"
        start, end = starts[0], ends[0]
        if line[0][1] == tip[1]:  # to the side, in the middle of the lower of both boxes
            lower = min(start, end, key=lambda box: box.bottom - box.top)
            assert (start.top, line[0][1]) == (end.top, lower.centre[1])
        else:
            assert line[0] == (start.centre[0], start.bottom)
            assert tip[1] == (end.top if len(line) == 2 else end.centre[1])
        assert all(x0 == x or y0 == y for (x0, y0), (x, y) in pairwise([*line, tip]))
        # The line ends in the middle of the head's base, which is as wide as the head is long.
        assert line[-1] == pytest.approx([sum(axis) / 2 for axis in zip(*base, strict=True)])
        assert math.dist(*base) == pytest.approx(math.dist(line[-1], tip))


@pytest.mark.parametrize(
    ("variant", "boxes", "arrows"),
    [("new-v1", 9, 8), ("new-v2", 14, 13), ("updated-v1", 11, 10), ("updated-v2", 16, 15)],
)
def test_each_template_has_its_boxes_and_arrows(variant, boxes, arrows):
    root = drawn(FILLED, variant)
    css = [element.get("class", "").split()[0] for element in root.iter() if element.get("class")]
    assert css.count("prisma-box") == boxes
    assert css.count("prisma-line") == css.count("prisma-head") == arrows
    assert css.count("prisma-band") == 3


def test_each_template_has_its_wording():
    assert "Studies included in review (n = 60)" in words(drawn(FILLED, "new-v2"))
    assert "New studies included in review (n = 60)" in words(drawn(FILLED, "updated-v1"))
    assert "Identification of studies via databases and registers" in words(drawn(FILLED, "new-v1"))
    title = "Identification of new studies via other methods"
    assert title in words(drawn(FILLED, "updated-v2"))
    assert "Previous studies" not in words(drawn(FILLED, "new-v2"))


def test_single_sources_are_named_only_where_they_are_known():
    assert "Specific databases" not in words(drawn(REVIEW, "new-v1"))
    assert "Specific databases (n = 983)" in words(
        drawn(declared(database_specific_results=983), "new-v1")
    )
    each = Flow({"database_specific_results": listed(("Scopus", 700), ("IEEE Xplore", None))})
    text = words(drawn(each, "new-v1"))
    assert "Scopus (n = 700)" in text
    assert "IEEE Xplore (n = not reported)" in text


def test_every_number_shows_where_it_comes_from():
    assert "Databases (n = 983) reported, grade A" in words(drawn(REVIEW, "new-v1"))
    assert "Records screened (n = not reported)" in words(drawn(REVIEW, "new-v1"))
    flow = declared(records_screened=1500, records_excluded=300)
    text = words(parsed(svg(derive(flow, VARIANTS["new-v1"]), VARIANTS["new-v1"], title="t")))
    assert "Reports sought for retrieval (n = 1,200, derived)" in text
    assert "Numbers without a mark" not in text, "sentences of the page stay on the page"


def test_sources_reasons_and_meta_analysis_are_drawn_when_given():
    text = words(drawn(FILLED, "updated-v2"))
    assert "Databases (n = 678) Scopus (n = 400) IEEE Xplore (n = 278) Registers" in text
    assert "Reports excluded: Wrong population (n = 50) Not in English (n = 43)" in text
    assert "meta-analysis" not in text
    assert "(n = 31)" in words(drawn(WITH_META, "new-v1"))
    named = Entry(items=(("Scopus", None),), origin="reported", grade="C")
    names_only = Flow({"database_specific_results": named})
    written = "Scopus (n = not reported) names reported, grade C"
    assert written in words(drawn(names_only, "new-v1"))


def test_a_reason_of_several_lines_looks_like_one_entry():
    reasons = listed(("Too long a reason " * 5, 12), ("B", 3))
    flow = Flow({**FILLED.entries, "dbr_excluded": reasons})
    texts = list(drawn(flow, "new-v1").iter(f"{NS}text"))
    first, rest, second = (
        [float(text.get("x", "")) for text in texts if (text.text or "").startswith(start)]
        for start in ("Too long", "reason", "B (n")
    )
    assert first == second
    assert min(rest) == max(rest) > first[0]


@EACH_VARIANT
def test_what_each_column_is_of_is_written_in_its_bar(variant):
    def place(element: ET.Element, *names: str) -> list[float]:
        return [float(element.get(name, "nan")) for name in names]

    root = parsed(svg(FILLED, variant, title="t"))
    bars = [e for e in root.iter(f"{NS}rect") if "prisma-bar" in e.get("class", "").split()]
    for bar in bars:
        left, top, width, height = place(bar, "x", "y", "width", "height")
        inside = [
            text
            for text in root.iter(f"{NS}text")
            for x, y in [place(text, "x", "y")]
            if left < x < left + width and top + 8 < y < top + height  # letters are 8 high
        ]
        assert inside
    assert len(bars) == 1 + variant.other + variant.previous


def test_boxes_can_be_reached_by_keyboard_and_lead_to_their_records():
    text = svg(REVIEW, VARIANTS["new-v1"], title="t", links={"box10": "/publications/?a=1&b=2"})
    root = parsed(text)
    (link,) = root.iter(f"{NS}a")
    assert link.get("href") == "/publications/?a=1&b=2"
    assert "Reports of included studies (n = 65)" in link.get("aria-label", "")
    groups = [element for element in root.iter(f"{NS}g") if element.get("role") == "group"]
    assert len(groups) == 8
    assert all(group.get("tabindex") == "0" and group.get("aria-label") for group in groups)


def test_a_strict_content_security_policy_finds_nothing_to_refuse():
    root = drawn(FILLED, "updated-v2")
    assert not {element.tag.removeprefix(NS) for element in root.iter()} & {"style", "script"}
    assert not any("style" in element.attrib for element in root.iter())


HOSTILE = '<script>alert(1)</script> & "quoted" \x00\x1b\ufffe\ud800 ' + "x" * 2000


def test_hostile_labels_stay_text():
    flow = Flow({"dbr_excluded": listed((HOSTILE, 1), ("a " * 1000, 2))})
    text = svg(flow, VARIANTS["new-v1"], title=HOSTILE, links={"box4": '"><script>'})
    assert "<script" not in text
    assert '<script>alert(1)</script> & "quoted"' in words(parsed(text))
    assert PdfReader(io.BytesIO(pdf(text))).pages


@settings(max_examples=50)
@given(flows(any_label))
def test_any_label_gives_a_well_formed_drawing(flow):
    parsed(svg(flow, VARIANTS["updated-v2"], title="t"))


@EACH_VARIANT
def test_boxes_stand_in_rows_of_one_distance_in_columns_as_wide_as_their_bars(variant):
    titled = Presentation({"newstud": "A title of so many words that it has several lines " * 4})
    for flow, drawn_as in ((WITH_META, titled), (WITH_A_LONG_LIST, Presentation())):
        plan = layout(flow, variant, drawn_as)
        shapes = [*plan.boxes.values(), *plan.bars.values(), *plan.bands.values(), plan.footer]
        margins = [min(shape.x for shape in shapes), min(shape.y for shape in shapes)]
        margins.append(plan.width - max(shape.right for shape in shapes))
        margins.append(plan.height - max(shape.bottom for shape in shapes))
        assert margins == pytest.approx([margins[0]] * 4)
        assert plan.footer.right == max(bar.right for bar in plan.bars.values())
        rows = {box.y: [b for b in plan.boxes.values() if b.y == box.y] for box in shapes[:-1]}
        tops = sorted({box.y for box in plan.boxes.values()})
        bottoms = [max(box.bottom for box in rows[top]) for top in tops]
        gaps = [below - above for above, below in zip(bottoms[:-1], tops[1:], strict=True)]
        assert gaps == pytest.approx([gaps[0]] * len(gaps))
        assert gaps[0] > 12, "an arrow needs room"
        for arm, bar in plan.bars.items():
            column = [box for name, box in plan.boxes.items() if BOXES[name].arm == arm]
            assert bar.x == min(box.x for box in column)
            assert bar.right == max(box.right for box in column)
            assert bar.bottom < min(box.y for box in column)
        assert len({(bar.y, bar.bottom) for bar in plan.bars.values()}) == 1
        for stage, band in plan.bands.items():
            beside = [box for name, box in plan.boxes.items() if BOXES[name].stage == stage]
            assert band.y == min(box.y for box in beside)
            assert band.bottom == max(box.bottom for box in beside)
            assert band.right < min(box.x for box in beside)
        for row in rows.values():
            assert len({box.x for box in row}) == len(row)
    beside_long = plan.boxes["box8"].height
    assert beside_long < plan.boxes["box9"].height / 2, "a short box is not drawn out"
    usual = layout(WITH_META, variant).boxes
    assert len({usual[name].height for name in ("box6", "box7")}) == 1


def test_lines_fill_their_box_from_margin_to_margin_and_are_broken_within_it():
    # Of Helvetica an a is 556 thousandths of its size wide, a blank 278, a Chinese letter 1,000.
    letters = {"a": 6.67, "á": 6.67, " ": 3.34, "语": 12.0}
    for reason in ("aaa " * 60, "a" * 300, "á" * 300, "语" * 100):
        flow = Flow({**FILLED.entries, "dbr_excluded": listed((reason, 1))})
        box = layout(flow, VARIANTS["new-v1"]).boxes["box9"]
        drawn_as = shapes(parsed(svg(flow, VARIANTS["new-v1"], title="t")))
        [shape] = [found for found in drawn_as if (found.left, found.top) == (box.x, box.y)]
        margin = shape.anchors[0][0] - shape.left
        texts = [line.text.removesuffix("(n = 1)").strip() for line in box.lines]
        inside = [text for text in texts if text and set(text) <= set(letters)]
        assert (" " if " " in reason else "").join(inside) == reason.strip()
        room = box.width - 2 * margin - max(line.indent for line in box.lines)
        for text in inside[1:-1]:  # all of which hang
            assert 0.7 * room < sum(letters[letter] for letter in text) < room
    assert 0 < margin < 20
    titled = Presentation(dict.fromkeys(["newstud", "screening"], "aaa " * 60))
    plan = layout(FILLED, VARIANTS["new-v1"], titled)
    bar, band = plan.bars["databases"], plan.bands["Screening"]
    for lines, room in ((bar.lines, bar.width - 2 * margin), (band.lines, band.height)):
        for line in lines[:-1]:  # bold letters are a tenth wider
            width = 1.1 * sum(letters[letter] for letter in line.text)
            assert 0.75 * room < width < 0.95 * room


def test_what_is_part_of_a_number_stands_further_in_than_it() -> None:
    boxes = layout(FILLED, VARIANTS["new-v1"]).boxes
    inside = {line.text: line.indent for line in boxes["box2"].lines}
    databases, scopus = inside["Databases (n = 678)"], inside["Scopus (n = 400)"]
    assert 0 == inside["Records identified from:"] < databases < scopus
    assert (databases, scopus) == (inside["Registers (n = 22)"], inside["IEEE Xplore (n = 278)"])
    reasons = {line.text: line.indent for line in boxes["box9"].lines}
    assert (reasons["Reports excluded:"], reasons["Not in English (n = 43)"]) == (0, databases)
    one = layout(declared(database_specific_results=983), VARIANTS["new-v1"]).boxes["box2"]
    assert [line.indent for line in one.lines if line.text.startswith("Specific")] == [scopus]
    named = Entry(items=(("Scopus", None),), origin="reported", grade="C")
    told = layout(Flow({"database_specific_results": named}), VARIANTS["new-v1"]).boxes["box2"]
    [origin] = [line for line in told.lines if line.note]
    assert (origin.text, origin.indent) == ("names reported, grade C", scopus)


def test_one_number_of_excluded_reports_is_drawn_once_beside_its_heading_or_below_it() -> None:
    flow = declared(dbr_excluded=93)
    for totals, lines in (
        (False, ["Reports excluded:", "(n = 93)"]),
        (True, ["Reports excluded (n = 93)"]),
    ):
        plan = layout(flow, VARIANTS["new-v1"], Presentation(totals=totals))
        assert [line.text for line in plan.boxes["box9"].lines] == lines
    none = layout(Flow(), VARIANTS["new-v1"], Presentation(totals=True)).boxes["box9"]
    assert none.text == "Reports excluded: (n = not reported)"


@EACH_VARIANT
def test_text_of_a_box_begins_at_its_edge_and_its_lines_are_of_one_distance(variant):
    plan = layout(FILLED, variant)
    margins, below = set(), []
    for shape in shapes(parsed(svg(FILLED, variant, title="t"))):
        if shape.css == "prisma-box":
            left, top = shape.anchors[0]
            margins.add((left - shape.left, round(top - shape.top, 6)))
            assert {round(b - a, 6) for (_, a), (_, b) in pairwise(shape.anchors)} == {15}
            below.append(shape.bottom - shape.anchors[-1][1])
    assert len(margins) == 1
    [(beside, above)] = margins
    assert above == pytest.approx(beside + 12, abs=2), "letters are twelve high"
    assert min(below) == pytest.approx(beside + 3, abs=2), "and reach three below their line"
    for name in ("box1", "box10"):
        if name in plan.boxes:
            assert {line.indent for line in plan.boxes[name].lines} == {0}


def test_what_not_every_review_has_is_grey_and_what_is_of_other_methods_is_said_to_be():
    root = drawn(WITH_META, "updated-v2")
    boxes = [e for e in root.iter(f"{NS}rect") if "prisma-box" in e.get("class", "")]
    grey = ["prisma-optional" in box.get("class", "").split() for box in boxes]
    plan = layout(WITH_META, VARIANTS["updated-v2"])
    always = ("databases", "included")
    assert grey == [BOXES[name].arm not in always for name in plan.boxes]
    fills = {(box.get("fill"), optional) for box, optional in zip(boxes, grey, strict=True)}
    assert len(fills) == len({fill for fill, _ in fills}) == 2
    bars = [e for e in root.iter(f"{NS}rect") if "prisma-bar" in e.get("class", "")]
    assert ["prisma-optional" in bar.get("class", "") for bar in bars] == [True, False, True]
    spoken = [e.get("aria-label", "") for e in root.iter(f"{NS}g") if e.get("role") == "group"]
    told = [text.startswith("Other methods: ") for text in spoken]
    assert told == [BOXES[name].arm == "other" for name in plan.boxes]


@EACH_VARIANT
def test_nothing_overlaps_however_long_the_lists_are(variant: FlowTemplate):
    for flow in (Flow(), REVIEW, FILLED, WITH_A_LONG_LIST):
        plan = layout(flow, variant)
        shapes = [*plan.boxes.values(), *plan.bars.values(), *plan.bands.values(), plan.footer]
        for one, two in combinations(shapes, 2):
            beside = one.right <= two.x or two.right <= one.x
            assert beside or one.bottom <= two.y or two.bottom <= one.y
        assert all(s.right <= plan.width and s.bottom <= plan.height for s in shapes)


def test_the_pdf_is_vector_with_real_text_at_nine_points():
    text = svg(FILLED, VARIANTS["updated-v2"], title="t")
    (page,) = PdfReader(io.BytesIO(pdf(text))).pages
    assert "Reports sought for retrieval" in page.extract_text()
    assert not page.images
    width, height = size(parsed(text))
    assert float(page.mediabox.width) == pytest.approx(width * 0.75, abs=1)
    assert float(page.mediabox.height) == pytest.approx(height * 0.75, abs=1)


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({"scale": 0.5}, 0.5),
        ({"scale": 2}, 2),
        ({"dpi": 72}, 0.75),
        ({"dpi": 192}, 2),
        ({}, 300 / 96),
    ],
)
def test_the_image_has_the_size_asked_for(options, factor):
    text = svg(REVIEW, VARIANTS["new-v1"], title="t")
    drawn_size = struct.unpack(">II", png(text, **options)[16:24])
    assert drawn_size == pytest.approx([side * factor for side in size(parsed(text))], abs=1)


def test_an_image_may_be_as_large_as_the_bounds_are() -> None:
    small = '<svg xmlns="http://www.w3.org/2000/svg" width="96" height="48"/>'
    for options, size_asked in (({"dpi": 600}, (600, 300)), ({"scale": 4}, (384, 192))):
        assert struct.unpack(">II", png(small, **options)[16:24]) == size_asked


@pytest.mark.parametrize(
    ("height", "said"),
    [
        (88_000, "at most 72 dpi"),
        (90_000, "too long for an image of 50,000,000 pixels; the SVG is"),
    ],
)
def test_of_a_long_image_the_most_dpi_are_told_that_may_be_asked_for(
    height: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        png(f'<svg width="1000" height="{height}"/>', dpi=600)


@pytest.mark.parametrize(
    "options",
    [
        {"dpi": 71},
        {"dpi": 601},
        {"scale": 0.4},
        {"scale": 4.1},
        {"scale": 0},
        {"dpi": 0},
        {"scale": 1, "dpi": 96},
        {"dpi": float("nan")},
    ],
)
def test_an_image_out_of_bounds_is_refused(options):
    with pytest.raises(ValueError, match=r"dpi|scale"):
        png(svg(REVIEW, VARIANTS["new-v1"], title="t"), **options)


def test_what_would_be_enormous_is_refused():
    long = Flow({"dbr_excluded": listed(*[("x" * 2000, 1)] * 20)})
    text = svg(long, VARIANTS["new-v1"], title="t")
    with pytest.raises(ValueError, match="pixels"):
        png(text, dpi=600)
    with pytest.raises(ValueError, match="too long"):
        pdf(text)


def test_a_character_that_no_font_has_is_refused_and_never_an_empty_box():
    label = "Reason \U0010fffd"
    text = svg(Flow({"dbr_excluded": listed((label, 1))}), VARIANTS["new-v1"], title="t")
    assert "\U0010fffd" in words(parsed(text)), "text stays text"
    for draw in (png, pdf):
        with pytest.raises(ValueError, match="No font here can draw characters for private use"):
            draw(text)


@pytest.mark.parametrize(
    ("label", "script", "package"),
    [
        ("非语言模型", "Chinese characters (“非”)", "fonts-noto-cjk"),
        ("モデルではない", "Japanese (“モ”)", "fonts-noto-cjk"),
        ("언어 모델 아님", "Korean (“언”)", "fonts-noto-cjk"),
        ("ليس نموذجا", "Arabic (“ل”)", "fonts-noto-core"),
        ("לא מודל", "Hebrew (“ל”)", "fonts-noto-core"),
        ("ไม่ใช่แบบจำลอง", "Thai (“ไ”)", "fonts-noto-core"),
    ],
)
def test_a_script_is_drawn_or_named_with_the_package_that_has_it(label, script, package):
    flow = Flow({"dbr_excluded": listed((label, 1))})
    text = svg(flow, VARIANTS["new-v1"], title="t")
    first = next(c for c in label if c in script)
    assert sentence(first) == (
        f"No font here can draw {script}: install the Debian package {package} on the server,"
        " or ask for the SVG, which keeps them as text."
    )
    empty = svg(Flow({"dbr_excluded": listed(("\u200b.", 1))}), VARIANTS["new-v1"], title="t")
    try:
        drawings = png(text, dpi=72), pdf(text)
    except ValueError as error:
        refused = str(error)
    else:
        assert drawings[0] != png(empty, dpi=72)
        return
    assert script in refused
    assert package in refused


def test_a_band_beside_a_single_line_still_has_its_title_in_one():
    few = declared(database_results=3, duplicates=1, new_studies=2)
    plan = layout(few, VARIANTS["new-v1"], Presentation(unreported=False))
    assert [band.text for band in plan.bands.values()] == [
        "Identification",
        "Screening",
        "Included",
    ]
    assert all(len(band.lines) == 1 for band in plan.bands.values())


def test_the_longest_labels_are_drawn_in_a_time_that_nobody_notices():
    rows = ("identification", "newstud", "duplicates", "dbr_excluded")
    began = time.process_time()
    svg(
        Flow(),
        VARIANTS["new-v1"],
        title="t",
        drawn_as=Presentation(dict.fromkeys(rows, "a " * 9999)),
    )
    assert time.process_time() - began < 5


@EACH_VARIANT
def test_labels_of_the_author_are_wrapped_in_boxes_bars_and_bands(variant: FlowTemplate):
    long = "Titles rejected by the classifier that the authors trained on an earlier version " * 2
    rows = (*(value.key for value in VALUES), *BAR_ROWS.values(), *BAND_ROWS.values())
    own = Presentation({row: f"{long}{row}" for row in rows}, totals=True)
    plan = layout(FILLED, variant, own)
    shapes = [*plan.boxes.values(), *plan.bars.values(), *plan.bands.values(), plan.footer]
    for one, two in combinations(shapes, 2):
        beside = one.right <= two.x or two.right <= one.x
        assert beside or one.bottom <= two.y or two.bottom <= one.y
    for band in plan.bands.values():
        assert len(band.lines) * 15 <= band.width, "its lines stand side by side"
    drawn_words = words(parsed(svg(FILLED, variant, title="t", drawn_as=own)))
    shown = [value.key for value in FILLED.shown(variant) if not value.listed]
    for row in (*shown, "dbr_excluded", "newstud", "identification", "included"):
        assert row in drawn_words
