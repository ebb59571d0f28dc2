"""Everything that the page of a claim says."""

from collections.abc import Sequence
from dataclasses import dataclass

from taxonomy.choices import DeviceRole
from taxonomy.claim_pages.neighbours import neighbours_of
from taxonomy.claim_pages.second_reading import Reading, second_reading_of
from taxonomy.claims.certainty import Certainty, certainty_of
from taxonomy.claims.outcomes import Standing, standing_of
from taxonomy.claims.reading import with_everything
from taxonomy.claims.remarks import Correction, corrections_of, doubts_of
from taxonomy.models import Claim, ClaimDevice, Outcome, Remark, Strategy

MOST_RUNS = 50
# Outcomes rank by the presets, in their order; the first preset is a test and measures nothing.
SMOKE_RANK = 0


@dataclass(frozen=True)
class SpokenRun:
    """What a run said of the claim, and why it does not count, in words; empty where it does."""

    outcome: Outcome
    set_aside: str
    by_former_rule: bool


@dataclass(frozen=True)
class ClaimPage:
    """A claim with all that is known of it, what runs found, and what stands beside it."""

    claim: Claim
    certainty: Certainty
    standing: Standing
    strategies: Sequence[Strategy]
    missing: Sequence[Strategy]
    devices: Sequence[tuple[str, Sequence[ClaimDevice]]]
    second_reading: Reading | None
    doubts: Sequence[Remark]
    corrections: Sequence[Correction]
    runs: Sequence[SpokenRun]
    more_runs: int
    neighbours: Sequence[Claim]


def read_claim(code: str) -> ClaimPage | None:
    """Return what the page says; None where no claim has the code."""
    claim = with_everything(Claim.objects.by_code([code])).first()
    if claim is None:
        return None
    runs, more = _runs(claim)
    remarks = claim.remarks.all()
    return ClaimPage(
        claim,
        certainty_of(claim),
        standing_of(claim),
        [one.strategy for one in claim.attributions.all() if one.counted],
        [one.strategy for one in claim.attributions.all() if not one.counted],
        _devices(claim),
        second_reading_of(claim),
        doubts_of(remarks),
        corrections_of(remarks),
        runs,
        more,
        neighbours_of(claim),
    )


def _devices(claim: Claim) -> list[tuple[str, list[ClaimDevice]]]:
    """Return the devices by how the claim comes by them, in words."""
    by_role = [
        (str(role.label), [device for device in claim.devices.all() if device.role == role])
        for role in DeviceRole
    ]
    return [(role, devices) for role, devices in by_role if devices]


def _runs(claim: Claim) -> tuple[list[SpokenRun], int]:
    """Return the latest runs that spoke to the claim, and how many more there are."""
    outcomes = claim.outcomes.order_by("-run")
    shown = list(outcomes[: MOST_RUNS + 1])
    more = outcomes.count() - MOST_RUNS if len(shown) > MOST_RUNS else 0
    return [
        SpokenRun(one, _set_aside(one), one.rule_written != claim.rule_written)
        for one in shown[:MOST_RUNS]
    ], more


def _set_aside(outcome: Outcome) -> str:
    if outcome.counts:
        return ""
    if outcome.accepted is False:
        return "contributed, not accepted: not counted"
    is_smoke = outcome.rank == SMOKE_RANK
    return "smoke: not counted" if is_smoke else "changed parameters: not counted"
