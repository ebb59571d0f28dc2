import pytest

from reviewapp.corpus.prisma.checks import Check, checks
from reviewapp.corpus.prisma.flow import VARIANTS, Flow, FlowTemplate, derive
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
        ("E7", {"other_sought_reports": 52}, "(52) > Websites"),
        ("E8", {"other_assessed": 11}, "11 − 12 = -1"),
        ("E9", {"new_reports": 68}, "68, but 135 + 37 − 93 − 12 = 67"),
        ("E10", {"new_studies": 68}, "(68) > Reports of new included studies (67)"),
        ("E11", {"total_studies": 99}, "99, but 40 + 60 = 100"),
        ("E12", {"total_reports": 110}, "110, but 44 + 67 = 111"),
        ("E13", {"total_studies_ma": 101}, "(101) > Total studies included in review (100)"),
        ("E14", {"records_excluded": 534}, "Records excluded (534) > Records screened (533)"),
        ("E15", {"dbr_assessed": 92}, "50 + 43 > 92 assessed"),
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
    reasons = {"dbr_excluded": listed(("No access", 80), ("Off topic", 20))}
    flow = Flow({**FIGURE_ONE.entries, **reasons})
    found = results(flow, "new-v1")["E15"]
    assert (found.result, found.detail) == (
        "does not hold",
        "80 + 20 > 110 assessed − 22 included",
    )


def test_a_sum_that_holds_because_it_was_derived_says_so():
    flow = Flow({k: e for k, e in FIGURE_ONE.entries.items() if k != "records_screened"})
    check = results(derive(flow, VARIANTS["new-v1"]), "new-v1")["E2"]
    assert (check.result, check.detail.endswith("derived from it")) == ("holds", True)
