import csv
import io
import re
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewapp.corpus.prisma.csv_file import TEMPLATE, ParsedFlow, read, with_labels, write
from reviewapp.corpus.prisma.flow import Entry, Flow
from reviewapp.corpus.prisma.reading.remarks import PrismaCsvError
from tests.corpus.prisma_flows import FILLED, REVIEW, any_label, flows, listed, visible

TEMPLATE_BYTES = TEMPLATE.read_bytes()
ROWS = list(csv.reader(io.StringIO(TEMPLATE_BYTES.decode(), newline="")))


def template_with(key: str, n: str) -> bytes:
    """The official template with another `n` cell in the row of a key."""
    row = re.compile(rf'^({key},.*,)("[^"]*"|[^",\r]*)(\r?)$', re.MULTILINE)
    text, count = row.subn(lambda m: f'{m[1]}"{n}"{m[3]}', TEMPLATE_BYTES.decode())
    assert count == 1
    return text.encode()


def separated(data: bytes, separator: str) -> bytes:
    """The same cells, as another spreadsheet writes them."""
    text = io.StringIO()
    rows = csv.reader(io.StringIO(data.decode(), newline=""))
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue().encode()


def said(parsed: ParsedFlow) -> list[str]:
    return [str(notice) for notice in parsed.notices]


def problems(data: bytes | str) -> list[str]:
    with pytest.raises(PrismaCsvError) as caught:
        read(data)
    return caught.value.problems


def test_the_official_template_comes_back_byte_for_byte_but_for_its_placeholders():
    parsed = read(TEMPLATE_BYTES)
    unfilled = re.sub(rb'"(Database|Register|Reason) ?1, xxx[^"]*"', b"NA", TEMPLATE_BYTES)
    assert write(parsed.flow, parsed.texts) == unfilled
    assert parsed.texts == {}
    assert parsed.flow.n("duplicates") == 0


def test_only_the_numbers_differ_from_the_template():
    written = write(REVIEW).decode().split("\r\n")
    template = TEMPLATE_BYTES.decode().split("\r\n")
    assert len(written) == len(template) == 35
    rows = dict(zip((line.split(",")[0] for line in written), written, strict=True))
    assert rows["database_results"].endswith(",983")
    assert rows["register_results"].endswith(",NA")
    assert written[0] == template[0]
    assert all(
        new.startswith(re.sub(r'("[^"]*"|[^,]*)$', "", old))
        for new, old in zip(written, template, strict=True)
    )


@given(flows(any_label))
def test_what_is_written_is_read_and_written_the_same(flow):
    first = write(flow)
    parsed = read(first)
    assert write(parsed.flow, parsed.texts) == first
    assert {key: (e.n, [n for _, n in e.items]) for key, e in parsed.flow.entries.items()} == {
        key: (e.n, [n for _, n in e.items]) for key, e in flow.entries.items()
    }


@given(flows(st.text("aB9=+-@'\"<é汉 ", min_size=1, max_size=12).filter(visible)))
def test_labels_without_separators_come_back_with_blanks_as_one(flow):
    parsed = read(write(flow)).flow
    for key, entry in flow.entries.items():
        assert parsed[key].items == tuple((" ".join(lb.split()), n) for lb, n in entry.items)


def test_a_filled_flow_comes_back_declared():
    assert read(write(FILLED)).flow == FILLED
    assert read(write(REVIEW), note="from a file").flow["new_reports"] == Entry(
        65, origin="declared", note="from a file"
    )


def test_a_semicolon_in_a_label_becomes_a_slash():
    flow = Flow({"dbr_excluded": listed(("Children, or animals; other", 3))})
    assert b'"Children, or animals / other, 3"' in write(flow)


def test_a_cell_that_a_spreadsheet_would_run_is_neutralised():
    flow = Flow({"dbr_excluded": listed(("=HYPERLINK(1)", 3), ("'@x", 1))})
    assert b"\"'=HYPERLINK(1), 3; ''@x, 1\"" in write(flow)
    assert read(write(flow)).flow == flow


def test_changed_texts_of_a_file_are_kept_and_neutralised():
    changed = TEMPLATE_BYTES.replace(b",Previous studies,Grey", b",=Old studies,Grey")
    changed = changed.replace(b"screened,Records screened,", b'screened,"Looked\r\nat, ""all""",')
    parsed = read(changed)
    assert parsed.texts["prevstud"][0] == "=Old studies"
    again = write(parsed.flow, parsed.texts)
    assert b",'=Old studies,Grey" in again
    assert read(again) == parsed


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        ("1,234", 1234),
        ("1 234 567", 1234567),
        ("1\u00a0234", 1234),
        ("1'234", 1234),
        ("1.234.567", 1234567),
        ("1200.0", 1200),
        ("0.00", 0),
        ("1200.000", 1200),
        ("(n = 1,234)", 1234),
        ("n=7", 7),
        (" 7 ", 7),
        ("007", 7),
    ],
)
def test_whole_numbers_are_understood_as_programs_and_people_write_them(n, expected):
    assert read(template_with("records_screened", n)).flow.n("records_screened") == expected


@pytest.mark.parametrize(
    "n", ["-3", "−3", "3.5", "1,23", "12 34", "1200,0", "many", "1e3", "٣", "=1", "n = "]
)
def test_what_is_not_a_whole_number_is_refused_with_its_line(n):
    (problem,) = problems(template_with("register_results", n))
    assert problem == (
        f"line 8 (register_results): “{n.strip()}” is not a whole number of 0 or more,"
        " as in 1200 or 1,200"
    )


def test_a_dot_before_three_digits_is_refused_where_it_can_mean_two_numbers():
    (problem,) = problems(template_with("duplicates", "1.200"))
    assert problem == "line 14 (duplicates): “1.200” can be 1 or 1200: write 1200"
    (problem,) = problems(template_with("dbr_excluded", "Not an LLM, 1.200"))
    assert problem == "line 24 (dbr_excluded): “1.200” can be 1 or 1200: write 1200"


@pytest.mark.parametrize(("n", "expected"), [("1.200", 1200), ("1200,0", 1200), ("1,234", 1234)])
def test_a_file_of_a_european_spreadsheet_has_its_country_s_numbers_and_says_how(n, expected):
    parsed = read(separated(template_with("records_screened", n), ";"))
    assert parsed.flow.n("records_screened") == expected
    assert f"line 17 (records_screened): “{n}” is read as {expected}" in said(parsed)


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        (
            "Not English, 1,234;No data,5; Other",
            [("Not English", 1234), ("No data", 5), ("Other", None)],
        ),
        ("Wrong outcome, not latency, 20", [("Wrong outcome, not latency", 20)]),
        ("Scopus, 120\nIEEE Xplore, 85\r\n", [("Scopus", 120), ("IEEE Xplore", 85)]),
        ("结果错误，20；非英文：5", [("结果错误", 20), ("非英文", 5)]),
        ("Not LLM (n = 4); B (n=1,234)", [("Not LLM", 4), ("B", 1234)]),
        ("Not LLM: 4; B: (n = 5)", [("Not LLM", 4), ("B", 5)]),
        ("Ratio 1:2, 7", [("Ratio 1:2", 7)]),
        ("GPT-4, xxx; Scopus, NA", [("GPT-4", None), ("Scopus", None)]),
        ("Scopus, 120; Database 2, xxx", [("Scopus", 120)]),
        ("Reason1, 20", [("Reason1", 20)]),
        ("Not an LLM: vision, speech", [("Not an LLM: vision, speech", None)]),
    ],
)
def test_the_number_of_an_item_stands_at_its_end(cell, items):
    parsed = read(template_with("dbr_excluded", cell))
    assert list(parsed.flow["dbr_excluded"].items) == items
    assert read(write(parsed.flow)).flow == parsed.flow


def test_a_list_may_be_one_number_or_not_reported():
    assert read(template_with("dbr_excluded", "1,234")).flow["dbr_excluded"].n == 1234
    for nothing in ("NA", "", "n/a", "xxx", "Reason1, xxx; Reason 2", "Register 1, NA"):
        assert read(template_with("dbr_excluded", nothing)).flow.n("dbr_excluded") is None


def test_what_is_left_of_the_template_is_told():
    told = said(read(TEMPLATE_BYTES))
    assert "line 9 (register_specific_results): “Register 1, Register 2, Register 3” of the " in (
        "\n".join(told)
    )
    assert len(told) == 4
    told = said(read(template_with("duplicates", "XXX")))
    assert "line 14 (duplicates): “XXX” is taken as not filled in" in told


@pytest.mark.parametrize(
    "n",
    [
        "Reason, -4",
        "Reason, 3.5",
        ", 5",
        "; ;",
        "Not LLM 4",
        "Not LLM (4)",
        "Not LLM - 4",
        "4 not LLM",
        "Reason, 5,",
        "Reason, 5 reports",
        "Reason (n = 5) reports",
        "Reason, 5, see text",
        "Scopus, 120, IEEE Xplore, 85",
        "Scopus: 120, IEEE Xplore: 85",
        "Scopus (n = 120), IEEE Xplore (n = 85)",
        "Scopus, 1,200, IEEE Xplore, 85",
        "Scopus,\n120",
    ],
)
def test_a_list_that_would_lose_something_is_refused(n):
    assert problems(template_with("dbr_excluded", n))[0].startswith("line 24 (dbr_excluded): ")


def test_all_problems_are_told_at_once_with_their_lines():
    data = template_with("duplicates", "-1").replace(b"other_assessed,", b"other_asessed,")
    data = data.replace(b"new_reports,", b"new_studies,").replace(b",box5,", b",box4,")
    data = data.replace(b"\r\nrecords_screened,", b"\r\nextra,cells\r\nrecords_screened,")
    assert problems(data) == [
        "line 14 (duplicates): “-1” is not a whole number of 0 or more, as in 1200 or 1,200",
        "line 17: 2 cells instead of 8; a cell with commas in it needs quotes",
        "line 19 (records_excluded): box “box4” should be “box5”",
        "line 26 (other_asessed): unknown key",
        "line 29 (new_studies): repeats line 28",
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "line 1: the columns should be data, node"),
        (b"a,b\r\nduplicates,4", "should be data, node, box, description, boxtext, tooltips, url"),
        (
            TEMPLATE_BYTES.replace(b"Screening", b"Scr\x81ening"),
            "line 32: byte 0x81 is not text in Western",
        ),
        (b"\xff\xfe" + b"\x00\xd8" * 9, "is not text in UTF-16"),
        (TEMPLATE_BYTES + b"\r\n" + b"x" * 65536, "more than 65,536"),
        (TEMPLATE_BYTES + b'\r\n"open', "line 36: quotes do not match"),
        (
            TEMPLATE_BYTES.replace(b"screening.html,0", b"screening.html"),
            "line 32: 7 cells instead",
        ),
        (TEMPLATE_BYTES.decode() + "\ud800", "line 35: half of a character (surrogate)"),
        (template_with("duplicates", "9" * 5000), "is more than 999,999,999"),
    ],
)
def test_a_file_that_is_something_else_is_refused(data, problem):
    assert problem in problems(data)[0]


@pytest.mark.parametrize(
    ("n", "told"), [("x" * 39 + "y", "x" * 39 + "y"), ("x" * 40 + "y", "x" * 39 + "…")]
)
def test_a_long_text_is_told_by_its_beginning(n: str, told: str) -> None:
    (problem,) = problems(template_with("duplicates", n))
    assert f"“{told}” is not a whole number" in problem


def test_longer_lists_than_a_page_can_show_are_refused():
    read(write(Flow({"dbr_excluded": listed(*[("a", 1)] * 5_000)})))
    shared = {key: listed(*[("a", 1)] * 2_501) for key in ("dbr_excluded", "other_excluded")}
    assert problems(write(Flow(shared))) == ["it lists 5,002 sources and reasons, more than 5,000"]


def test_a_column_that_differs_is_named():
    header, _, rows = TEMPLATE_BYTES.partition(b"\r\n")

    def told(changed: bytes) -> list[str]:
        return problems(changed + b"\r\n" + rows)

    assert told(header.replace(b",url", b",link")) == ["line 1: the column “url” is missing"]
    assert told(header.replace(b"url", b"n")) == [
        "line 1: the column “url” is missing",
        "line 1: the column “n” is there twice",
    ]
    assert told(header.replace(b"data,node,box", b"box,node,data")) == [
        "line 1: column 1 should be “data”, not “box”",
        "line 1: column 3 should be “box”, not “data”",
    ]


def test_columns_beside_those_of_the_template_are_told_and_not_read():
    header, *rows = TEMPLATE_BYTES.decode().split("\r\n")
    for end in (",", ",,,"):
        empty = read("\n".join([header + end, *(row + end for row in rows)]))
        assert (empty.flow, empty.texts) == (read(TEMPLATE_BYTES).flow, {})
        assert said(empty) == said(read(TEMPLATE_BYTES))
    stray = read("\n".join([header + ",", rows[0] + ",see text", *rows[1:]]))
    assert "line 2 (prevstud): “see text” in column 9 is not read" in said(stray)
    named = read("\n".join([header.upper() + ", Notes", *(row + ",x" for row in rows)]))
    assert said(named)[0] == "line 1: the column “notes” is none of the template's"
    assert read("\n".join([header, *(row + ",," for row in rows)])).flow == empty.flow


@pytest.mark.parametrize(
    ("key", "n", "beside"), [("duplicates", "1", "234"), ("dbr_excluded", "Not English", " 7")]
)
def test_a_cell_that_goes_on_in_the_next_for_want_of_quotes_is_refused(key, n, beside):
    text = template_with(key, n).decode().replace(f'"{n}"', f"{n},{beside}")
    assert "cells instead of 8; a cell with commas in it needs quotes" in problems(text)[0]
    text = text.replace(",url,n", ",url,n,")
    assert f"({key}): “{n}” goes on as “{beside.strip()}” in column 9" in problems(text)[0]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_the_separator_and_encoding_of_a_spreadsheet_are_found(separator, encoding):
    text = template_with("dbr_excluded", "Qualité; 3, Größe, 12; Café, 7".replace("; 3", ""))
    parsed = read(separated(text, separator).decode().encode(encoding))
    assert parsed.flow["dbr_excluded"].items == (("Qualité, Größe", 12), ("Café", 7))
    told = " ".join(said(parsed))
    assert ("separated by" in told) == (separator != ",")
    assert ("UTF-16" in told) == encoding.startswith("utf-16")
    assert ("line 24: It is not UTF-8 and read as Western European" in told) == (
        encoding == "cp1252"
    )


@pytest.mark.parametrize(
    ("encoding", "label"), [("cp1251", "Не модель"), ("gb18030", "非语言模型"), ("cp932", "対象外")]
)
def test_an_encoding_that_cannot_be_found_can_be_chosen(encoding, label):
    data = template_with("dbr_excluded", f"{label}, 4").decode().encode(encoding)
    assert read(data, encoding=encoding).flow["dbr_excluded"].items == ((label, 4),)


def test_other_forms_of_the_same_file_are_accepted():
    expected = read(TEMPLATE_BYTES)
    assert read(TEMPLATE_BYTES.replace(b"\r\n", b"\n") + b"\n") == expected
    assert read(TEMPLATE_BYTES.replace(b"\r\n", b"\r")) == expected
    assert read(TEMPLATE_BYTES.decode()) == expected
    assert read(b"\r\n".join([b"sep=;", separated(TEMPLATE_BYTES, ";")])) == expected
    assert read(TEMPLATE_BYTES + b"\r\n,,,,,,,\r\n") == expected


def test_reasons_at_the_first_stage_have_a_row_of_their_own():
    reasons = Flow({"title_abstract_reasons": listed(("Not LLM", 20), ("No title, or none", 5))})
    assert b"\r\ntitle_abstract_reasons,NA,box5," in write(reasons)
    rows = [row["data"] for row in csv.DictReader(io.StringIO(write(reasons).decode()))]
    assert rows[rows.index("title_abstract_reasons") - 1] == "records_excluded"
    assert b"title_abstract_reasons" not in write(Flow())
    assert read(write(reasons)).flow == reasons


def test_reasons_in_the_number_of_records_excluded_are_refused_with_their_place():
    (problem,) = problems(template_with("records_excluded", "Not LLM, 20; No results, 5"))
    assert problem.endswith("stand in a row of their own, title_abstract_reasons in box5")


def test_a_file_that_r_or_pandas_wrote_may_number_its_rows():
    text = template_with("dbr_excluded", "Not LLM, 20").decode()
    lines = csv.reader(io.StringIO(text, newline=""))
    numbered = io.StringIO()
    rows = ([number or "", *row] for number, row in enumerate(lines))
    csv.writer(numbered, quoting=csv.QUOTE_ALL).writerows(rows)
    assert read(numbered.getvalue()) == read(text)


def test_labels_of_the_author_are_told_from_those_of_the_template():
    changed = TEMPLATE_BYTES.replace(b",Databases,", b",Records from  bibliographic databases,")
    changed = changed.replace(b",Registers,", b",NA,").replace(b",Websites,", b", ,")
    parsed = read(changed)
    assert parsed.labels == {"database_results": "Records from bibliographic databases"}
    assert with_labels(parsed.texts, {"register_results": "", "website_results": ""}) == {
        "database_results": parsed.texts["database_results"]
    }


def test_a_missing_row_is_not_reported():
    rows = TEMPLATE_BYTES.split(b"\r\n")
    parsed = read(b"\r\n".join(row for row in rows if not row.startswith(b"duplicates")))
    assert parsed.flow["duplicates"].origin == "not reported"


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_file_is_read_or_refused_in_words(data):
    with suppress(PrismaCsvError):
        read(data)


CELLS = st.text("aB19,;:. ()=nx'@\u00a0é汉-", max_size=16) | st.text(max_size=12)


@settings(max_examples=300)
@given(
    st.dictionaries(st.integers(1, len(ROWS) - 1), st.tuples(CELLS, CELLS, CELLS, CELLS)),
    st.sampled_from(",;\t"),
)
def test_whatever_is_read_comes_back_exactly(changed, separator):
    rows = [
        [*row[:4], *changed[number]] if number in changed else row
        for number, row in enumerate(ROWS)
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    with suppress(PrismaCsvError):
        parsed = read(text.getvalue())
        assert read(write(parsed.flow, parsed.texts)) == parsed


def test_the_largest_list_takes_no_time_that_a_reader_would_notice():
    for cell in ("1,111," * 10_000, "a, 1;" * 5_000, "a" + " " * 60_000 + "b", "(n = " * 12_000):
        began = time.process_time()
        with suppress(PrismaCsvError):
            read(template_with("dbr_excluded", cell))
        assert time.process_time() - began < 2


def test_a_flow_too_large_to_read_back_is_not_written():
    flow = Flow({"dbr_excluded": listed(*[("x" * 2000, 1)] * 40)})
    with pytest.raises(PrismaCsvError, match="more than"):
        write(flow)
