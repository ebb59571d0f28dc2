"""How strong the evidence for a strategy is, in one sentence and a softer second one."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reviewapp.ui.units import number
from taxonomy.choices import EFFECTS, Status
from taxonomy.claims.certainty import Degree
from taxonomy.claims.evidence.gathering import Evidence, Row
from taxonomy.claims.evidence.wording import effect, inside, span
from taxonomy.claims.marks import marks_of
from taxonomy.claims.words import capital, in_words, listed
from taxonomy.models import Axis

MOST_EFFECTS = 3
FOUND = {
    Status.SUPPORTED: ("is supported", "are supported"),
    Status.DIRECTION_AGREES: ("agrees in direction", "agree in direction"),
    Status.NOT_REPRODUCED: ("was not reproduced", "were not reproduced"),
    "": ("has runs that disagree", "have runs that disagree"),
}


@dataclass(frozen=True)
class Verdict:
    """The sentence of how strong the evidence is, and what else there is; `more` may be empty."""

    strong: str
    more: str


def verdict_of(evidence: Evidence, name: str, filed: int) -> Verdict:
    """Return the sentences for the strategy of this name.

    `filed` is the number of publications of the review that are filed under it.
    """
    name = inside(name)
    isolated, combined, against = map(evidence.of_scope, EFFECTS)
    if isolated:
        strong, more = _isolating(isolated, name), [(combined, _COMBINE), (against, _COMPARE)]
    elif combined:
        strong = f"No claim isolates {name}. {_others(combined, _COMBINE)}."
        more = [(against, _COMPARE)]
    elif against:
        strong = f"No claim isolates {name}. {_only(against)}."
        more = []
    else:
        return Verdict(_nothing(name, filed), "")
    prefix = _prefix(evidence)
    return Verdict(prefix + strong, " ".join(filter(None, (_rest(more), _extensions(evidence)))))


_COMBINE = ("combines it with other strategies", "combine it with other strategies")
_COMPARE = ("compares whole systems that differ in it", "compare whole systems that differ in it")


def _prefix(evidence: Evidence) -> str:
    if not evidence.left_out:
        return ""
    read, total = number(len(evidence.rows)), number(evidence.total)
    return f"Of {total} claims the {read} with the best support are read here. "


def _isolating(rows: Sequence[Row], name: str) -> str:
    """Return the sentences about claims that isolate the strategy."""
    effects, factors = _effects(rows), sum(row.is_ratio for row in rows)
    count = len(rows)
    if count == 1:
        gives = f": {effects}" if effects else "; it gives no factor"
        return f"One claim isolates {name}{gives}. {capital(_how_sure(rows))}."
    if factors == count and _is_one_range(rows):
        head = f"Two claims, the two ends of one range, isolate {name}: {effects}"
    elif not factors:
        head = f"{capital(in_words(count))} claims isolate {name}; none gives a factor"
    else:
        every = "both" if count == 2 else "all"
        given = every if factors == count else in_words(factors)
        verb = "gives" if factors == 1 else "give"
        head = (
            f"{capital(in_words(count))} claims isolate {name}; {given} {verb} a factor: {effects}"
        )
    return f"{head}. {capital(_how_sure(rows))}."


def _is_one_range(rows: Sequence[Row]) -> bool:
    return len(rows) == 2 and len(marks_of(row.claim for row in rows)) == 1


def _how_sure(rows: Sequence[Row]) -> str:
    """Return what these claims say of their devices, and what came of them here."""
    named = sum(row.certainty.device.degree == Degree.YES for row in rows)
    tried = [row for row in rows if row.standing.is_tried]
    if len(rows) == 1:
        device = "it names its device" if named else "it names no device"
        return f"{device}; it {_tried_one(tried)}"
    none = "neither" if len(rows) == 2 else "none"
    who = "both" if named == len(rows) == 2 else in_words(named) if named else none
    device = f"{who} {'name their' if named > 1 else 'names its'} device"
    return f"{device}; {_tried_of_many(tried) if tried else f'{none} was tried here'}"


def _tried_one(tried: Sequence[Row]) -> str:
    return f"was tried here and {FOUND[_found(tried[0])][0]}" if tried else "was not tried here"


def _tried_of_many(tried: Sequence[Row]) -> str:
    if len(tried) == 1:
        return f"one {_tried_one(tried)}"
    found = Counter(_found(row) for row in tried)
    if len(found) == 1:
        return f"{in_words(len(tried))} were tried here and {FOUND[_found(tried[0])][1]}"
    parts = [f"{in_words(n)} {FOUND[status][n > 1]}" for status, n in found.most_common()]
    return f"{in_words(len(tried))} were tried here: {listed(parts)}"


def _found(row: Row) -> str:
    """Return the status of a claim that was tried; empty where runs say different things."""
    return "" if row.standing.conflicting else row.standing.status


def _others(rows: Sequence[Row], verbs: tuple[str, str]) -> str:
    """Return what claims do that do not isolate the strategy, with their effects."""
    count, same = len(rows), " on the same system" if verbs is _COMBINE else ""
    effects = _effects(rows)
    head = f"{capital(in_words(count))} claim{'s' * (count > 1)} {verbs[count > 1]}{same}"
    return f"{head}: {effects}" if effects else f"{head}; none gives a factor"


def _only(rows: Sequence[Row]) -> str:
    """Return what claims do that compare whole systems, where there are no others."""
    count, effects = len(rows), _effects(rows)
    who = {1: "Its one claim", 2: "Both claims"}.get(count, f"All {in_words(count)} claims")
    head = f"{who} {_COMPARE[count > 1]}"
    return f"{head}: {effects}" if effects else f"{head}; none gives a factor"


def _rest(others: Sequence[tuple[Sequence[Row], tuple[str, str]]]) -> str:
    """Return what else there is, of which each counts and none is an effect of it alone."""
    parts = [
        f"{in_words(len(rows))}{' claim' + 's' * (len(rows) > 1)} {verbs[len(rows) > 1]}"
        + (f" ({effects})" if (effects := _effects(rows)) else "")
        for rows, verbs in others
        if rows
    ]
    if not parts:
        return ""
    return f"{capital(listed(parts))}: shown, but not its effect alone."


def _extensions(evidence: Evidence) -> str:
    count, beyond = evidence.extension_claims, evidence.extensions
    if not count:
        return ""
    subject = f"{capital(in_words(count))} claim{'s come' if count > 1 else ' comes'} from"
    source = f"{in_words(beyond)} extensions" if beyond > 1 else "an extension"
    return f"{subject} {source} outside the review’s 65."


def _nothing(name: str, filed: int) -> str:
    if not filed:
        return f"No claim can be attributed to {name}, and no publication of the review uses it."
    use = "publication uses" if filed == 1 else "publications use"
    return f"No claim can be attributed to {name}; {in_words(filed)} {use} it."


def _effects(rows: Sequence[Row]) -> str:
    """Return at most three effects, that of most claims first: "2 to 3 × less memory"."""
    by_axis: dict[Axis, list[Row]] = defaultdict(list)
    for row in rows:
        if row.is_ratio:
            by_axis[row.claim.axis].append(row)
    most_first = sorted(by_axis.items(), key=lambda item: -len(item[1]))
    said = [
        f"{span(marks_of(row.claim for row in found))} {effect(axis)}" for axis, found in most_first
    ]
    if len(said) > MOST_EFFECTS:
        return f"{', '.join(said[:MOST_EFFECTS])} and more"
    return listed(said)
