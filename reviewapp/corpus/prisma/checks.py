"""The fifteen relations E1 to E15 between the numbers of a PRISMA 2020 flow diagram.

A relation that does not hold is shown with its numbers; no number is ever changed to fit.
The template prints no equations: they follow from what its arrows mean.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

from reviewapp.corpus.prisma.flow import BOXES, BY_KEY, Flow, FlowTemplate, equations

Result = Literal["holds", "does not hold", "cannot be evaluated", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One relation and its result.

    `detail` holds the numbers compared, or names what is missing; `missing` has the keys.
    `strength` says how much a deviation means.
    """

    code: str
    statement: str
    result: Result
    detail: str
    strength: str
    missing: tuple[str, ...] = ()


class _Finding(NamedTuple):
    result: Result
    detail: str
    missing: tuple[str, ...] = ()


def checks(flow: Flow, variant: FlowTemplate) -> list[Check]:
    """E1 to E15 in order, evaluated on the flow as the template `variant` shows it."""
    case = _Case(flow, variant)
    found = []
    for code, statement, strength, evaluate in _RELATIONS:
        result, detail, missing = evaluate(case)
        found.append(Check(code, statement, result, detail, strength, missing))
    return found


@dataclass(frozen=True)
class _Case:
    """The numbers under check, and how to speak of them."""

    flow: Flow
    variant: FlowTemplate

    def name(self, key: str) -> str:
        value = BY_KEY[key]
        box = BOXES[value.box]
        # The two columns use the same words for their screening boxes.
        ambiguous = box.arm == "other" and box.stage == "Screening"
        return self.variant.label(value) + (" (other methods)" if ambiguous else "")

    def known(self, *keys: str) -> int:
        """The sum of what is reported, which is the least that the whole can be."""
        return sum(self.flow.n(key) or 0 for key in keys)

    def unknown(self, *keys: str) -> tuple[str, ...]:
        return tuple(key for key in keys if self.flow.n(key) is None)

    def not_evaluated(self, keys: Iterable[str]) -> _Finding:
        missing = tuple(dict.fromkeys(keys))
        names = ", ".join(self.name(key) for key in missing)
        return _Finding("cannot be evaluated", f"not reported: {names}", missing)

    def equal(self, key: str, right: int, written: str) -> _Finding:
        left = self.flow.n(key)
        if left != right:
            return _Finding("does not hold", f"{self.name(key)}: {left}, but {written} = {right}")
        derived = ", derived from it" if self.flow[key].origin == "derived" else ""
        return _Finding("holds", f"{self.name(key)}: {left} = {written}{derived}")

    def at_most(self, less: tuple[str, ...], more: tuple[str, ...]) -> _Finding:
        """sum(less) <= sum(more), as far as the known numbers decide it.

        An unreported part leaves a sum open upwards: on the left it can only disprove the
        relation, on the right only prove it.
        """
        low, high = self.known(*less), self.known(*more)
        if low > high and not self.unknown(*more):
            return _Finding("does not hold", f"{self.sum(less)} > {self.sum(more)}")
        if low <= high and not self.unknown(*less):
            return _Finding("holds", f"{self.sum(less)} ≤ {self.sum(more)}")
        return self.not_evaluated(self.unknown(*less, *more))

    def sum(self, keys: tuple[str, ...]) -> str:
        names = " + ".join(self.name(key) for key in keys)
        at_least = "at least " if self.unknown(*keys) else ""
        return f"{names} ({at_least}{self.known(*keys)})"


_ONE_COLUMN = _Finding("not applicable", "this template has only databases and registers")
_NEW_REVIEW = _Finding("not applicable", "this template has no previous version of the review")


def _combined(findings: list[_Finding], otherwise: str) -> _Finding:
    """One finding for several parts: a part that fails decides, then one that holds."""
    if not findings:
        return _Finding("not applicable", otherwise)
    order: tuple[Result, ...] = ("does not hold", "holds", "cannot be evaluated")
    result = min((finding.result for finding in findings), key=order.index)
    telling = [f for f in findings if result in {"holds", f.result}]
    missing = dict.fromkeys(key for finding in telling for key in finding.missing)
    return _Finding(result, "; ".join(finding.detail for finding in telling), tuple(missing))


def _equation(code: str, absent: _Finding = _ONE_COLUMN) -> Callable[[_Case], _Finding]:
    def evaluate(case: _Case) -> _Finding:
        equation = next((e for e in equations(case.variant) if e.code == code), None)
        if equation is None:
            return absent
        right = equation.value(case.flow)
        if right is None or case.unknown(equation.target):
            return case.not_evaluated(
                [*case.unknown(equation.target), *equation.missing(case.flow)]
            )
        return case.equal(equation.target, right, equation.in_numbers(case.flow))

    return evaluate


def _details_add_up(case: _Case) -> _Finding:
    pairs = (
        ("database_specific_results", "database_results"),
        ("register_specific_results", "register_results"),
    )
    given = [pair for pair in pairs if case.flow[pair[0]].origin != "not reported"]
    return _combined(
        [_detail_adds_up(case, listed, total) for listed, total in given],
        "no number is given for each database or register",
    )


def _detail_adds_up(case: _Case, listed: str, total: str) -> _Finding:
    if case.unknown(listed, total):
        return case.not_evaluated(case.unknown(listed, total))
    n = case.known(listed)
    return case.equal(total, n, _written(case, listed) or str(n))


def _written(case: _Case, listed: str) -> str:
    return " + ".join(str(n) for _, n in case.flow[listed].items)


def _included_via(assessed: str, excluded: str) -> Callable[[_Case], _Finding]:
    """With two columns no box prints what one of them contributes: only bounds can be checked."""

    def evaluate(case: _Case) -> _Finding:
        if not case.variant.other:
            return _ONE_COLUMN
        if case.unknown(assessed, excluded, "new_reports"):
            return case.not_evaluated(case.unknown(assessed, excluded, "new_reports"))
        n, included = case.known(assessed) - case.known(excluded), case.known("new_reports")
        written = f"{case.known(assessed)} − {case.known(excluded)} = {n}"
        if 0 <= n <= included:
            return _Finding("holds", f"{written}, part of the {included} reports included")
        return _Finding("does not hold", f"{written}, but {included} reports are included")

    return evaluate


def _via_databases(case: _Case) -> _Finding:
    if case.variant.other:
        return _included_via("dbr_assessed", "dbr_excluded")(case)
    return _equation("E5")(case)


def _other_sources(case: _Case) -> _Finding:
    if not case.variant.other:
        return _ONE_COLUMN
    return case.at_most(("other_sought_reports",), _OTHER[0])


def _studies_have_reports(case: _Case) -> _Finding:
    return case.at_most(("new_studies",), ("new_reports",))


def _meta_analysis(case: _Case) -> _Finding:
    whole = "total" if case.variant.previous else "new"
    pairs = (("total_studies_ma", f"{whole}_studies"), ("total_reports_ma", f"{whole}_reports"))
    return _combined(
        [case.at_most((part,), (all_,)) for part, all_ in pairs if not case.unknown(part)],
        "no number of a meta-analysis is given",
    )


_DATABASES = (
    ("database_results", "register_results"),
    ("records_screened",),
    ("dbr_sought_reports",),
    ("dbr_assessed",),
)
_OTHER = (
    ("website_results", "organisation_results", "citations_results"),
    ("other_sought_reports",),
    ("other_assessed",),
)
_LEFT_OUT = (
    (("duplicates", "excluded_automatic", "excluded_other"), _DATABASES[0]),
    (("records_excluded",), _DATABASES[1]),
    (("dbr_notretrieved_reports",), _DATABASES[2]),
    (("dbr_excluded",), _DATABASES[3]),
)
_LEFT_OUT_OTHER = (
    (("other_notretrieved_reports",), _OTHER[1]),
    (("other_excluded",), _OTHER[2]),
)


def _stages(variant: FlowTemplate) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Pairs of (a part or later stage, an earlier stage), at any distance.

    Comparing at a distance keeps a gap between two known stages from hiding an error.
    """
    included = ("new_reports",)
    pairs = [(later, earlier) for earlier, later in combinations(_DATABASES, 2)]
    if not variant.other:
        return [*pairs, *_LEFT_OUT, *((included, earlier) for earlier in _DATABASES)]
    pairs += [(later, earlier) for earlier, later in combinations(_OTHER, 2)]
    both = (_DATABASES[0] + _OTHER[0], _DATABASES[3] + _OTHER[2])
    return [*pairs, *_LEFT_OUT, *_LEFT_OUT_OTHER, *((included, earlier) for earlier in both)]


def _stages_shrink(case: _Case) -> _Finding:
    findings = [case.at_most(later, earlier) for later, earlier in _stages(case.variant)]
    decided = [finding for finding in findings if finding.result != "cannot be evaluated"]
    if not decided:
        return case.not_evaluated(key for finding in findings for key in finding.missing)
    result, detail, _ = _combined(decided, "")
    if result == "does not hold":
        return _Finding(result, detail)
    if len(decided) == len(findings):
        return _Finding(result, f"all {len(findings)} comparisons hold")
    made = f"{len(decided)} of {len(findings)} comparisons can be made"
    return _Finding(result, f"{made}: {detail}")


def _reasons_partition(case: _Case) -> _Finding:
    arms = (("dbr_excluded", "dbr_assessed"), ("other_excluded", "other_assessed"))
    shown = arms if case.variant.other else arms[:1]
    found = [
        _reasons(case, excluded, assessed)
        for excluded, assessed in shown
        if case.flow[excluded].items
    ]
    if case.flow["title_abstract_reasons"].items:
        found.append(case.at_most(("title_abstract_reasons",), ("records_excluded",)))
    return _combined(
        found,
        "no reasons are listed",
    )


def _reasons(case: _Case, excluded: str, assessed: str) -> _Finding:
    """Reports that were assessed and not included bound the reasons; one column shows both."""
    if case.unknown(excluded, assessed):
        return case.not_evaluated(case.unknown(excluded, assessed))
    reports = case.known(assessed)
    included = 0 if case.variant.other else case.known("new_reports")
    bound = f"{reports} assessed" + (f" − {included} included" if included else "")
    if case.known(excluded) > reports - included:
        return _Finding("does not hold", f"{_written(case, excluded)} > {bound}")
    return _Finding("holds", f"{_written(case, excluded)} ≤ {bound}")


_EXACT, _BOUND = "exact", "bound"
_USUAL = "usual; fails if an earlier study was dropped, or a new report belongs to one"
_RELATIONS: tuple[tuple[str, str, str, Callable[[_Case], _Finding]], ...] = (
    (
        "E1",
        "The numbers of the single databases add up to Databases, those of the registers to "
        "Registers",
        "exact, when detail is given",
        _details_add_up,
    ),
    (
        "E2",
        "Records screened = records identified − records removed before screening",
        _EXACT,
        _equation("E2"),
    ),
    (
        "E3",
        "Reports sought for retrieval = records screened − records excluded",
        "exact if each record kept leads to one report; explain a deviation",
        _equation("E3"),
    ),
    (
        "E4",
        "Reports assessed = reports sought − reports not retrieved",
        _EXACT,
        _equation("E4"),
    ),
    (
        "E5",
        "Reports included via databases and registers = reports assessed − reports excluded",
        _EXACT,
        _via_databases,
    ),
    (
        "E6",
        "Other methods: reports assessed = reports sought − reports not retrieved",
        _EXACT,
        _equation("E6"),
    ),
    (
        "E7",
        "Other methods: reports sought ≤ records identified",
        f"{_BOUND}; this column shows no duplicates and no screening",
        _other_sources,
    ),
    (
        "E8",
        "Reports included via other methods = reports assessed − reports excluded",
        _EXACT,
        _included_via("other_assessed", "other_excluded"),
    ),
    (
        "E9",
        "Reports of included studies = reports included via both columns",
        "exact, if no report is counted in both columns",
        _equation("E9", _Finding("not applicable", "this template has one column; see E5")),
    ),
    (
        "E10",
        "Studies included ≤ reports of included studies",
        f"{_BOUND}; equal only if each study has one report",
        _studies_have_reports,
    ),
    (
        "E11",
        "Total studies = studies of the previous version + new studies",
        _USUAL,
        _equation("E11", _NEW_REVIEW),
    ),
    (
        "E12",
        "Reports of total studies = reports of the previous version + new reports",
        _USUAL,
        _equation("E12", _NEW_REVIEW),
    ),
    (
        "E13",
        "Studies and reports in the meta-analysis ≤ those included",
        _BOUND,
        _meta_analysis,
    ),
    (
        "E14",
        "Every number is a whole number of 0 or more, and no stage exceeds one before it",
        "sanity",
        _stages_shrink,
    ),
    (
        "E15",
        "Each excluded record or report has one reason, so the reasons do not exceed the excluded",
        "convention",
        _reasons_partition,
    ),
)
