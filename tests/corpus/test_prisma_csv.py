import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reviewapp.corpus.prisma.csv_file import TEMPLATE, PrismaCsvError, read, write
from reviewapp.corpus.prisma.flow import Entry, Flow
from tests.corpus.prisma_flows import FILLED, REVIEW, any_label, flows, listed, visible

TEMPLATE_BYTES = TEMPLATE.read_bytes()


def template_with(key: str, n: str) -> bytes:
    """The official template with another `n` cell in the row of a key."""
    row = re.compile(rf'^({key},.*,)("[^"]*"|[^",\r]*)(\r?)$', re.MULTILINE)
    text, count = row.subn(lambda m: f'{m[1]}"{n}"{m[3]}', TEMPLATE_BYTES.decode())
    assert count == 1
    return text.encode()


def problems(data: bytes | str) -> list[str]:
    with pytest.raises(PrismaCsvError) as caught:
        read(data)
    return caught.value.problems


def test_the_official_template_comes_back_byte_for_byte():
    parsed = read(TEMPLATE_BYTES)
    assert write(parsed.flow, parsed.texts) == TEMPLATE_BYTES
    assert parsed.texts == {}
    assert parsed.flow.n("duplicates") == 0
    assert parsed.flow["dbr_excluded"].items[0] == ("Reason1", None)


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


@settings(deadline=None)
@given(flows(any_label))
def test_what_is_written_is_read_and_written_the_same(flow):
    first = write(flow)
    parsed = read(first)
    assert write(parsed.flow, parsed.texts) == first
    assert {key: (e.n, [n for _, n in e.items]) for key, e in parsed.flow.entries.items()} == {
        key: (e.n, [n for _, n in e.items]) for key, e in flow.entries.items()
    }


@settings(deadline=None)
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


def test_separators_in_a_label_become_a_slash():
    flow = Flow({"dbr_excluded": listed(("Children, or animals; other", 3))})
    assert b'"Children / or animals / other, 3"' in write(flow)


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
    [("1,234", 1234), ("1 234 567", 1234567), ("1\u00a0234", 1234), (" 7 ", 7), ("007", 7)],
)
def test_thousands_separators_are_understood(n, expected):
    assert read(template_with("records_screened", n)).flow.n("records_screened") == expected


@pytest.mark.parametrize(
    "n", ["-3", "−3", "3.5", "1.234", "1,23", "12 34", "many", "1e3", "٣", "=1"]
)
def test_what_is_not_a_whole_number_is_refused_with_its_line(n):
    assert problems(template_with("register_results", n)) == [
        f'line 8 (register_results): "{n}" is not a whole number of 0 or more'
    ]


def test_lists_are_read_as_the_package_reads_them():
    parsed = read(template_with("dbr_excluded", "Not English, 1,234;No data,5; Other")).flow
    assert parsed["dbr_excluded"].items == (("Not English", 1234), ("No data", 5), ("Other", None))
    assert read(template_with("dbr_excluded", "1,234")).flow["dbr_excluded"].n == 1234
    assert read(template_with("dbr_excluded", "NA")).flow["dbr_excluded"].n is None


@pytest.mark.parametrize("n", ["Adults, children, 5", "Reason, -4", "Reason, 3.5", ", 5", "; ;"])
def test_a_list_that_would_lose_something_is_refused(n):
    assert problems(template_with("dbr_excluded", n))[0].startswith("line 24 (dbr_excluded): ")


def test_all_problems_are_told_at_once_with_their_lines():
    data = template_with("duplicates", "-1").replace(b"other_assessed,", b"other_asessed,")
    data = data.replace(b"new_reports,", b"new_studies,").replace(b",box5,", b",box4,")
    data = data.replace(b"\r\nrecords_screened,", b"\r\nextra,cells\r\nrecords_screened,")
    assert problems(data) == [
        'line 14 (duplicates): "-1" is not a whole number of 0 or more',
        "line 17: 2 cells instead of 8",
        'line 19 (records_excluded): box "box4" should be "box5"',
        "line 26 (other_asessed): unknown key",
        "line 29 (new_studies): repeats line 28",
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "line 1: the columns should be data, node"),
        (b"data,n\r\nduplicates,4", "not data, n"),
        (TEMPLATE_BYTES.replace(b",", b";"), "line 1: the columns"),
        (TEMPLATE_BYTES.replace(b"data,node,box", b"box,node,data", 1), "line 1: the columns"),
        (TEMPLATE_BYTES.replace(b"Screening", b"Scr\xe9ening"), "line 32: byte 0xe9 is not UTF-8"),
        (TEMPLATE_BYTES.decode().encode("utf-16"), "is not UTF-8"),
        (TEMPLATE_BYTES + b"\r\n" + b"x" * 65536, "more than 65,536"),
        (TEMPLATE_BYTES + b'\r\n"open', "line 36: quotes do not match"),
        (TEMPLATE_BYTES.decode() + "\ud800", "surrogate"),
        (template_with("duplicates", "9" * 5000), "is more than 999,999,999"),
    ],
)
def test_a_file_that_is_something_else_is_refused(data, problem):
    assert problem in problems(data)[0]


def test_longer_lists_than_a_page_can_show_are_refused():
    read(write(Flow({"dbr_excluded": listed(*[("a", 1)] * 5_000)})))
    shared = {key: listed(*[("a", 1)] * 2_501) for key in ("dbr_excluded", "other_excluded")}
    assert problems(write(Flow(shared))) == ["it lists 5,002 sources and reasons, more than 5,000"]


def test_other_encodings_of_the_same_file_are_accepted():
    expected = read(TEMPLATE_BYTES)
    assert read(b"\xef\xbb\xbf" + TEMPLATE_BYTES) == expected
    assert read(TEMPLATE_BYTES.replace(b"\r\n", b"\n") + b"\n") == expected
    assert read(TEMPLATE_BYTES.decode()) == expected


def test_a_missing_row_is_not_reported():
    rows = TEMPLATE_BYTES.split(b"\r\n")
    parsed = read(b"\r\n".join(row for row in rows if not row.startswith(b"duplicates")))
    assert parsed.flow["duplicates"].origin == "not reported"


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_file_is_read_or_refused_in_words(data):
    with suppress(PrismaCsvError):
        read(data)


def test_a_flow_too_large_to_read_back_is_not_written():
    flow = Flow({"dbr_excluded": listed(*[("x" * 2000, 1)] * 40)})
    with pytest.raises(PrismaCsvError, match="more than"):
        write(flow)
