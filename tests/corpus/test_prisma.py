import csv
import io
import json

import pytest
from hypothesis import given, settings

from reviewapp.corpus.prisma.csv_file import TEMPLATE
from reviewapp.corpus.prisma.flow import (
    BOXES,
    VALUES,
    VARIANTS,
    Entry,
    Flow,
    derive,
    variant_for,
)
from tests.corpus.prisma_flows import (
    FIGURE_ONE,
    FIGURE_TWO,
    FILLED,
    REVIEW,
    any_label,
    declared,
    flows,
)


def without(flow: Flow, *keys: str) -> Flow:
    return Flow({key: entry for key, entry in flow.entries.items() if key not in keys})


def test_values_and_boxes_are_those_of_the_package_template_in_its_order():
    rows = csv.DictReader(io.StringIO(TEMPLATE.read_text()))
    keyed = [(row["data"], row["box"]) for row in rows if row["box"].startswith("box")]
    added = ("title_abstract_reasons", "box5")
    assert [place for v in VALUES if (place := (v.key, v.box)) != added] == keyed
    assert set(BOXES) == {box for _, box in keyed}


def test_nothing_can_be_derived_from_the_two_numbers_of_the_review():
    for variant in VARIANTS.values():
        assert derive(REVIEW, variant) == REVIEW


@pytest.mark.parametrize("figure", [FIGURE_ONE, FIGURE_TWO])
def test_the_numbers_of_a_published_figure_follow_from_its_ends(figure):
    sums = ("records_screened", "dbr_sought_reports", "dbr_assessed", "new_reports")
    derived = derive(without(figure, *sums), VARIANTS["new-v1"])
    assert {key: derived.n(key) for key in sums} == {key: figure.n(key) for key in sums}
    assert {derived[key].origin for key in sums} == {"derived"}


def test_a_derived_number_carries_its_equation():
    derived = derive(without(FIGURE_ONE, "records_screened"), VARIANTS["new-v1"])
    assert derived["records_screened"].note == "E2: 162 + 0 − 23 − 0 − 0 = 139"


def test_reported_numbers_are_never_replaced_and_impossible_ones_never_derived():
    wrong = Flow({**FIGURE_ONE.entries, **declared(records_screened=7).entries})
    assert derive(wrong, VARIANTS["new-v1"]) == wrong
    negative = declared(records_screened=3, records_excluded=5)
    assert derive(negative, VARIANTS["new-v1"]) == negative


def test_unknown_registers_are_not_taken_for_none():
    derived = derive(
        without(FIGURE_ONE, "register_results", "records_screened"), VARIANTS["new-v1"]
    )
    assert derived["records_screened"].origin == "not reported"


def test_totals_are_derived_only_in_an_updated_review():
    flow = without(FILLED, "total_studies", "total_reports")
    assert derive(flow, VARIANTS["new-v2"]) == flow
    updated = derive(flow, VARIANTS["updated-v2"])
    assert (updated.n("total_studies"), updated.n("total_reports")) == (100, 111)


def test_both_columns_feed_the_included_reports_of_a_v2_template():
    derived = derive(without(FILLED, "new_reports"), VARIANTS["new-v2"])
    assert derived.n("new_reports") == 135 + 37 - (50 + 43) - 12


def test_each_template_has_its_own_wording_and_columns():
    labels = {slug: [r.label for r in FILLED.as_rows(v)] for slug, v in VARIANTS.items()}
    assert "Studies included in review" in labels["new-v1"]
    assert "New studies included in review" in labels["updated-v1"]
    assert "Websites" not in labels["updated-v1"]
    assert "Websites" in labels["new-v2"]
    assert "Total studies included in review" not in labels["new-v2"]
    assert "Total studies included in review" in labels["updated-v2"]
    assert not any("meta-analysis" in label for label in labels["updated-v2"])
    assert VARIANTS["new-v1"].column_title("databases").startswith("Identification of studies via")
    assert VARIANTS["updated-v2"].column_title("other").startswith("Identification of new studies")


def test_the_table_says_what_is_not_reported():
    rows = {row.key: row for row in REVIEW.as_rows(VARIANTS["new-v1"])}
    assert (rows["database_results"].n, rows["database_results"].grade) == (983, "A")
    assert (rows["register_results"].n, rows["register_results"].origin) == (None, "not reported")


def test_the_smallest_template_with_room_for_the_numbers_is_found():
    assert variant_for(REVIEW).slug == "new-v1"
    assert variant_for(declared(website_results=0)).slug == "new-v2"
    assert variant_for(declared(total_studies=9)).slug == "updated-v1"
    assert variant_for(FILLED).slug == "updated-v2"


@settings(max_examples=50)
@given(flows(any_label))
def test_json_gives_back_the_same_flow(flow):
    assert Flow.from_json(json.loads(json.dumps(flow.to_json()))) == flow


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"rockets": {"n": 1, "items": [], "origin": "declared"}}, "rockets"),
        ({"duplicates": {"n": -1, "items": [], "origin": "declared"}}, "duplicates: -1"),
        ({"duplicates": {"n": True, "items": [], "origin": "declared"}}, "duplicates: True"),
        ({"duplicates": {"n": "5", "items": [], "origin": "declared"}}, "duplicates: '5'"),
        ({"duplicates": {"n": 5, "items": [], "origin": "guessed"}}, "unknown origin"),
        ({"duplicates": {"n": None, "items": [], "origin": "declared"}}, "does not fit"),
        ({"duplicates": "5"}, "duplicates"),
        (
            {"duplicates": {"n": None, "items": [{"label": "a", "n": 1}], "origin": "declared"}},
            "one number, not a list",
        ),
    ],
)
def test_wrong_json_is_refused_with_the_key(data, problem):
    with pytest.raises(ValueError, match=problem):
        Flow.from_json(data)


def test_a_list_has_a_total_only_when_every_item_has_a_number():
    assert Entry(items=(("a", 2), ("b", 3)), origin="declared").total == 5
    assert Entry(items=(("a", 2), ("b", None)), origin="declared").total is None
