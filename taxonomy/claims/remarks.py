"""What was doubted of a claim or a record, and what was corrected, in the words of its page."""

from calendar import month_name
from collections.abc import Iterable
from dataclasses import dataclass

from taxonomy.choices import RemarkKind
from taxonomy.models import Claim, Remark


@dataclass(frozen=True)
class Correction:
    """A field that was corrected: what stood there, what stands there now, and who says so.

    `before` is empty where nothing stood there, or something was added.
    """

    field: str
    before: str
    now: str
    source: str


def doubts_of(remarks: Iterable[Remark]) -> list[Remark]:
    """Return the doubts, those that a correction has answered last."""
    doubts = [remark for remark in remarks if remark.kind == RemarkKind.DOUBT]
    return sorted(doubts, key=lambda remark: remark.settled)


def is_doubted(claim: Claim) -> bool:
    """Return whether a doubt about the claim stands, or its second reading differs."""
    second = getattr(claim, "second_reading", None)
    differs = second is not None and second.agrees is False
    return differs or any(not doubt.settled for doubt in doubts_of(claim.remarks.all()))


def corrections_of(remarks: Iterable[Remark]) -> list[Correction]:
    """Return the corrections in the words that readers see."""
    return [
        Correction(
            "strategy added" if remark.field == "strategies" else remark.field,
            _in_words(remark.field, remark.before),
            _in_words(remark.field, remark.text),
            remark.source,
        )
        for remark in remarks
        if remark.kind == RemarkKind.CORRECTION
    ]


def _in_words(field: str, value: str) -> str:
    """Return the value as pages show it: a choice by its label, a month by its name."""
    if field == "month" and value.isdecimal():
        return month_name[int(value)]
    if field == "strategies":
        return value.replace("-", " ")
    known = {one.name: one for one in Claim._meta.concrete_fields if one.choices}
    labels = dict(known[field].flatchoices) if field in known else {}
    return str(labels.get(value) or value)
