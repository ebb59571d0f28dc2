"""How well a claim is supported, on a scale of its own: apart from its scope and from its size."""

from dataclasses import dataclass
from enum import Enum

from taxonomy.choices import BaselineKind, ClaimSource, DeviceRole, Status
from taxonomy.claims.outcomes import Standing, standing_of
from taxonomy.models import Claim

OWN_SOURCES = {ClaimSource.ABSTRACT, ClaimSource.PAPER, ClaimSource.README}


class Degree(Enum):
    """How far one of the four questions is answered."""

    NO = "no"
    PARTLY = "partly"
    YES = "yes"


@dataclass(frozen=True)
class Answer:
    """One of the four questions about a claim, how far it is answered, and why in words."""

    question: str
    degree: Degree
    why: str


@dataclass(frozen=True)
class Certainty:
    """The four questions that decide how far a reader may lean on a claim."""

    source: Answer
    baseline: Answer
    device: Answer
    tried: Answer

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Return the four in the order in which they are shown."""
        return self.source, self.baseline, self.device, self.tried


def certainty_of(claim: Claim) -> Certainty:
    """Return the certainty of a claim that was read by `with_facts`."""
    return Certainty(_source(claim), _baseline(claim), _device(claim), _tried(standing_of(claim)))


def _source(claim: Claim) -> Answer:
    """Say where the number was read: in the publication's own words, or by way of others."""
    where = claim.get_source_display()
    if claim.source not in OWN_SOURCES:
        return Answer("source read", Degree.NO, f"read in {where}, not in the publication")
    if claim.publication.from_general_knowledge:
        why = f"{where}; the record is partly from general knowledge"
        return Answer("source read", Degree.PARTLY, why)
    return Answer("source read", Degree.YES, where)


def _baseline(claim: Claim) -> Answer:
    named = claim.baseline_kind not in ("", BaselineKind.UNNAMED)
    why = claim.baseline or "not named"
    if not claim.baseline_kind:
        why = "the number is not relative to a baseline"
        if claim.baseline:
            why = f"the number is not relative to “{claim.baseline}”"
    return Answer("baseline named", Degree.YES if named else Degree.NO, why)


def _device(claim: Claim) -> Answer:
    """Say whether the claim's own words name a product; a publication's hardware never counts."""
    stated = [device for device in claim.devices.all() if device.role == DeviceRole.STATED]
    if not stated:
        return Answer("device named", Degree.NO, "device not stated")
    named = any(device.is_product for device in stated)
    return Answer("device named", Degree.YES if named else Degree.PARTLY, claim.hardware)


def _tried(standing: Standing) -> Answer:
    degree = Degree.YES if standing.is_tried else Degree.NO
    if standing.status == Status.NOT_COMPARABLE:
        degree = Degree.PARTLY
    return Answer("tried here", degree, standing.in_words)
