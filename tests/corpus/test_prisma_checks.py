import re
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reviewapp.corpus.prisma.checks import Check, checks
from reviewapp.corpus.prisma.flow import BY_KEY, VARIANTS, Entry, Flow, FlowTemplate, derive
from tests.corpus.prisma_flows import FIGURE_ONE, FIGURE_TWO, FILLED, REVIEW, declared, listed


def results(flow: Flow, variant: str) -> dict[str, Check]:
    return {check.code: check for check in checks(flow, VARIANTS[variant])}


def changed(flow: Flow, **numbers: int) -> Flow:
    return Flow({**flow.entries, **declared(**numbers).entries})


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_all_fifteen_are_answered_for_every_template(variant: FlowTemplate):
    codes = [f"E{number}" for number in range(1, 16)]
    assert [check.code for check in checks(FILLED, variant)] == codes
    assert [check.code for check in checks(Flow(), variant)] == codes


@pytest.mark.parametrize("figure", [FIGURE_ONE, FIGURE_TWO])
def test_published_figures_satisfy_e2_to_e5(figure):
    found = results(figure, "new-v1")
    assert {found[code].result for code in ("E2", "E3", "E4", "E5", "E14")} == {"holds"}
    assert "E2" not in {code for code, check in found.items() if check.result == "does not hold"}


def test_a_filled_diagram_satisfies_every_relation_of_an_updated_v2_template():
    found = results(FILLED, "updated-v2")
    assert {code: c.result for code, c in found.items() if c.result != "holds"} == {
        "E13": "not applicable"
    }


@pytest.mark.parametrize(
    ("code", "numbers", "detail"),
    [
        ("E1", {"database_results": 679}, "Databases: 679, but 400 + 278 = 678"),
        ("E2", {"records_screened": 534}, "534, but 678 + 22 − 167 − 0 − 0 = 533"),
        ("E3", {"dbr_sought_reports": 136}, "136, but 533 − 398 = 135"),
        ("E4", {"dbr_assessed": 134}, "134, but 135 − 0 = 135"),
        ("E5", {"new_reports": 41}, "135 − 93 = 42, but 41 reports are included"),
        ("E6", {"other_assessed": 36}, "36, but 40 − 3 = 37"),
        (
            "E7",
            {"other_sought_reports": 52},
            "Reports sought for retrieval (other methods) (52)"
            " > Websites + Organisations + Citation searching (51)",
        ),
        ("E8", {"other_assessed": 11}, "11 − 12 = -1"),
        ("E9", {"new_reports": 68}, "68, but 135 + 37 − 93 − 12 = 67"),
        ("E10", {"new_studies": 68}, "(68) > Reports of new included studies (67)"),
        ("E11", {"total_studies": 99}, "99, but 40 + 60 = 100"),
        ("E12", {"total_reports": 110}, "110, but 44 + 67 = 111"),
        ("E13", {"total_studies_ma": 101}, "(101) > Total studies included in review (100)"),
        ("E14", {"records_excluded": 534}, "Records excluded (534) > Records screened (533)"),
        ("E15", {"dbr_assessed": 92}, "50 + 43 > 92 assessed"),
        ("E15", {"other_assessed": 11}, "12 > 11 assessed"),
    ],
)
def test_a_broken_relation_is_reported_with_its_numbers_and_not_repaired(code, numbers, detail):
    flow = changed(FILLED, **numbers)
    check = results(flow, "updated-v2")[code]
    assert check.result == "does not hold"
    assert detail in check.detail
    assert derive(flow, VARIANTS["updated-v2"]) == flow


def test_of_the_review_only_the_order_of_its_two_numbers_can_be_checked():
    found = results(REVIEW, "new-v1")
    assert {code for code, check in found.items() if check.result == "holds"} == {"E14"}
    assert "(65) ≤ Databases + Registers (at least 983)" in found["E14"].detail
    assert found["E2"].result == "cannot be evaluated"
    assert "register_results" in found["E2"].missing
    assert "Registers" in found["E2"].detail


@pytest.mark.parametrize(
    ("variant", "absent"),
    [
        ("new-v1", {"E6", "E7", "E8", "E9", "E11", "E12"}),
        ("new-v2", {"E11", "E12"}),
        ("updated-v1", {"E6", "E7", "E8", "E9"}),
        ("updated-v2", set()),
    ],
)
def test_relations_of_columns_that_a_template_lacks_do_not_apply(variant, absent):
    found = results(FILLED, variant)
    assert {c for c, check in found.items() if check.result == "not applicable"} == absent | {"E13"}


def test_a_sum_with_an_unreported_part_can_only_decide_one_way():
    above = declared(other_sought_reports=9, website_results=10)
    assert results(above, "new-v2")["E7"].result == "holds"
    below = declared(other_sought_reports=11, website_results=10)
    assert results(below, "new-v2")["E7"].result == "cannot be evaluated"


def test_overlapping_reasons_are_seen_in_a_single_column():
    other = {"other_excluded": listed(("Abstract only", 12)), **declared(other_assessed=11).entries}
    assert results(Flow(other), "new-v1")["E15"].result == "not applicable"
    reasons = {"dbr_excluded": listed(("No access", 80), ("Off topic", 20))}
    flow = Flow({**FIGURE_ONE.entries, **reasons})
    found = results(flow, "new-v1")["E15"]
    assert (found.result, found.detail) == (
        "does not hold",
        "80 + 20 > 110 assessed − 22 included",
    )
    for more, result in ((5, "holds"), (6, "does not hold")):
        first = {"title_abstract_reasons": listed(("Not LLM", 20), ("No results", more))}
        assert results(Flow({**FIGURE_ONE.entries, **first}), "new-v1")["E15"].result == result


def test_a_sum_that_holds_because_it_was_derived_says_so():
    flow = Flow({k: e for k, e in FIGURE_ONE.entries.items() if k != "records_screened"})
    check = results(derive(flow, VARIANTS["new-v1"]), "new-v1")["E2"]
    assert (check.result, check.detail.endswith("derived from it")) == ("holds", True)


@given(st.lists(st.integers(0, 9), min_size=21, max_size=21), st.sampled_from([*VARIANTS]))
def test_of_a_flow_that_loses_and_invents_nothing_every_relation_holds(parts, variant):
    """At its bounds too: a part may be all of the whole, or nothing."""
    n = iter(parts)
    included, wrong, off_topic, lost, excluded = (next(n) for _ in range(5))
    assessed = included + wrong + off_topic
    screened = assessed + lost + excluded
    removed = [next(n) for _ in range(3)]
    identified = screened + sum(removed)
    registers, scopus = min(next(n), identified), next(n)
    two_columns = variant.endswith("v2")
    others, other_wrong, other_lost, unused = (next(n) * two_columns for _ in range(4))
    found = included + others
    studies, earlier_studies = min(next(n), found), next(n)
    earlier = earlier_studies + next(n)
    updated = variant.startswith("updated")
    whole = (studies + earlier_studies, found + earlier) if updated else (studies, found)
    numbers = {
        "database_results": identified - registers,
        "register_results": registers,
        "duplicates": removed[0],
        "excluded_automatic": removed[1],
        "excluded_other": removed[2],
        "records_screened": screened,
        "records_excluded": excluded,
        "dbr_sought_reports": assessed + lost,
        "dbr_notretrieved_reports": lost,
        "dbr_assessed": assessed,
        "new_studies": studies,
        "new_reports": found,
        "previous_studies": earlier_studies,
        "previous_reports": earlier,
        "total_studies": whole[0],
        "total_reports": whole[1],
        "total_studies_ma": min(next(n), whole[0]),
        "total_reports_ma": min(next(n), whole[1]),
        "website_results": other_lost + unused,
        "organisation_results": others,
        "citations_results": other_wrong,
        "other_sought_reports": others + other_wrong + other_lost,
        "other_notretrieved_reports": other_lost,
        "other_assessed": others + other_wrong,
    }
    scopus = min(scopus, identified - registers)
    lists = {
        "database_specific_results": [scopus, identified - registers - scopus],
        "register_specific_results": [registers],
        "title_abstract_reasons": [excluded],
        "dbr_excluded": [wrong, off_topic],
        "other_excluded": [other_wrong],
    }
    named = {key: listed(*((f"item {n}", n) for n in counts)) for key, counts in lists.items()}
    flow = Flow({**declared(**numbers).entries, **named})
    wrong_ones = {c.code: c.detail for c in results(flow, variant).values() if c.result != "holds"}
    absent = {"E11", "E12"} if not updated else set()
    absent |= {"E6", "E7", "E8", "E9"} if not two_columns else set()
    assert wrong_ones.keys() == absent, wrong_ones


STAGES = ("database_results", "records_screened", "dbr_sought_reports", "dbr_assessed")
LEFT_OUT = ("duplicates", "records_excluded", "dbr_notretrieved_reports", "dbr_excluded")


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        *combinations((*STAGES, "new_reports"), 2),
        *zip(STAGES, LEFT_OUT, strict=True),
        ("other_sought_reports", "other_assessed"),
        ("other_sought_reports", "other_notretrieved_reports"),
        ("other_assessed", "other_excluded"),
    ],
)
def test_of_two_known_stages_the_later_is_never_larger_whatever_is_unknown_between(earlier, later):
    variant = "new-v2" if earlier.startswith("other") else "new-v1"
    beside = {
        "database_results": {"register_results": 0},
        "duplicates": {"excluded_automatic": 0, "excluded_other": 0},
    }
    known = beside.get(earlier, {}) | beside.get(later, {})
    for more, result in ((0, "holds"), (1, "does not hold")):
        check = results(declared(**{earlier: 5, later: 5 + more}, **known), variant)["E14"]
        assert (check.result, check.missing) == (result, ())
    assert VARIANTS[variant].label(BY_KEY[later]) in check.detail


@pytest.mark.parametrize(
    "earlier",
    [
        {"dbr_assessed": 3, "other_assessed": 2},
        dict.fromkeys(
            (
                "database_results",
                "register_results",
                "website_results",
                "organisation_results",
                "citations_results",
            ),
            1,
        ),
    ],
)
def test_what_is_included_is_never_more_than_both_columns_had(earlier):
    for included, result in ((5, "holds"), (6, "does not hold")):
        flow = declared(**earlier, new_reports=included)
        assert results(flow, "new-v2")["E14"].result == result


def test_it_is_told_how_many_of_all_comparisons_could_be_made():
    made, of = re.findall("^([0-9]+) of ([0-9]+) comp", results(REVIEW, "new-v1")["E14"].detail)[0]
    assert int(made) == 1
    assert f"all {of} comparisons hold" == results(FIGURE_ONE, "new-v1")["E14"].detail


def test_what_one_column_contributes_is_part_of_what_is_included():
    flow = changed(FILLED, new_reports=41)
    found = results(flow, "new-v2")
    assert (found["E5"].result, found["E8"].result) == ("does not hold", "holds")
    assert "37 − 12 = 25, part of the 41 reports included" in found["E8"].detail


def test_a_part_that_is_not_known_is_named_beside_one_that_does_not_hold():
    half = {"database_specific_results": listed(("Scopus", 4), ("IEEE Xplore", None))}
    flow = Flow({**FILLED.entries, **half})
    found = results(flow, "new-v1")["E1"]
    assert (found.result, found.missing) == ("holds", ("database_specific_results",))
    assert "Registers: 22 = 22" in found.detail
    alone = Flow({**half, **declared(database_results=4).entries})
    assert results(alone, "new-v1")["E1"].result == "cannot be evaluated"
    off = results(changed(flow, register_results=21), "new-v1")["E1"]
    assert (off.result, off.detail) == ("does not hold", "Registers: 21, but 22 = 22")
    one = Flow({"register_specific_results": Entry(22, origin="reported")})
    assert results(changed(one, register_results=22), "new-v1")["E1"].result == "holds"
