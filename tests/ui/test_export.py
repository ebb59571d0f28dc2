"""CSV that a spreadsheet, Python and pandas read alike."""

import csv
import io

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from reviewapp.ui.export import Provenance, as_csv, csv_lines, neutralise

ABOUT = Provenance("http://x/?q=é", "2026-01-01", "0.1.0", "CC BY 4.0")
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=4)


@given(rows=ROWS)
def test_python_reads_every_cell_back(rows: list[list[str]]) -> None:
    content = as_csv(["ключ", "b"], rows, ABOUT).encode()
    read = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    assert read[0][:2] == ["ключ", "b"]
    assert [row[:2] for row in read[1:]] == [[neutralise(cell) for cell in row] for row in rows]
    assert all(row[2:] == ["http://x/?q=é", "2026-01-01", "0.1.0", "CC BY 4.0"] for row in read[1:])


@given(rows=ROWS)
def test_pandas_reads_every_cell_back(rows: list[list[str]]) -> None:
    content = as_csv(["ключ", "b"], rows, ABOUT).encode()
    frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    assert list(frame)[:2] == ["ключ", "b"]
    assert frame.iloc[:, :2].to_numpy().tolist() == [[neutralise(c) for c in row] for row in rows]


def test_a_spreadsheet_is_told_the_encoding_once() -> None:
    content = "".join(csv_lines(["a"], [["é"], ["ü"]], ABOUT)).encode()
    assert content.startswith(b"\xef\xbb\xbfa,")
    assert content.count(b"\xef\xbb\xbf") == 1


def test_several_values_in_a_cell_are_parted_by_semicolons() -> None:
    [row] = csv.DictReader(io.StringIO(as_csv(["a"], [[["x", "=y", 3]]], ABOUT)[1:]))
    assert row["a"] == "x; =y; 3"
