"""What runs found of claims: written whole for each run, filtered in SQL, said in words."""

from datetime import date

import pytest
from django.db import IntegrityError, transaction

from reviewapp.corpus.models import Review
from taxonomy.choices import Status
from taxonomy.claims import outcomes
from taxonomy.claims.outcomes import Finding, Quantity
from taxonomy.models import Claim, Outcome
from tests.casestudies.making import a_finished_run

SPARSITY, TIME = "frantar2023sparsegpt-0", "frantar2023sparsegpt-1"
CPU = "CPU, 2 cores"


def claim(code: str) -> Claim:
    return Claim.objects.by_code([code]).get()


def codes(claims) -> list[str]:
    return sorted(claim.code for claim in claims.select_related("publication"))


def test_claims_tried_here_are_found_by_status(review: Review) -> None:
    first, second = a_finished_run(), a_finished_run()
    for run in (first, second):
        found = [Finding(SPARSITY, Status.SUPPORTED), Finding(TIME, Status.NOT_RUN, "needs a GPU")]
        outcomes.keep(run.pk, "sparsegpt", CPU, found)
    assert codes(Claim.objects.tried()) == [SPARSITY, TIME]
    assert codes(Claim.objects.tried(Status.SUPPORTED)) == [SPARSITY]
    assert not Claim.objects.tried(Status.NOT_REPRODUCED).exists()


def test_an_outcome_keeps_its_numbers_and_the_date_of_its_rule(review: Review) -> None:
    run = a_finished_run()
    numbers = (Quantity("sparsity", 0.6), Quantity("pruning time", 15.3, "s"))
    outcomes.keep(run.pk, "sparsegpt", CPU, [Finding(SPARSITY, Status.SUPPORTED, "", numbers)])
    kept = claim(SPARSITY).outcomes.get()
    assert (kept.run, kept.study, kept.hardware) == (run.pk, "sparsegpt", CPU)
    assert kept.numbers == [
        {"name": "sparsity", "value": 0.6, "unit": ""},
        {"name": "pruning time", "value": 15.3, "unit": "s"},
    ]
    assert kept.rule_written == claim(SPARSITY).rule_written == date(2026, 11, 26)


def test_writing_again_replaces_the_outcomes_of_that_run_only(review: Review) -> None:
    first, second = a_finished_run(), a_finished_run()
    for run in (first, second):
        found = [Finding(SPARSITY, Status.SUPPORTED), Finding(TIME, Status.NOT_COMPARABLE)]
        outcomes.keep(run.pk, "sparsegpt", CPU, found)
    outcomes.keep(first.pk, "sparsegpt", CPU, [Finding(TIME, Status.SUPPORTED)])
    assert codes(Claim.objects.filter(outcomes__run=first.pk)) == [TIME]
    assert codes(Claim.objects.filter(outcomes__run=second.pk)) == [SPARSITY, TIME]


def test_an_unknown_claim_is_named_and_nothing_is_written(review: Review) -> None:
    run = a_finished_run()
    found = [Finding(SPARSITY, Status.SUPPORTED), Finding("nobody2023-0", Status.SUPPORTED)]
    with pytest.raises(ValueError, match="There is no claim nobody2023-0"):
        outcomes.keep(run.pk, "sparsegpt", CPU, found)
    assert not Outcome.objects.exists()


def test_the_latest_run_speaks_for_a_claim_and_no_run_is_said_in_words(review: Review) -> None:
    first, second = a_finished_run(), a_finished_run()
    outcomes.keep(first.pk, "sparsegpt", CPU, [Finding(TIME, Status.SUPPORTED)])
    outcomes.keep(second.pk, "sparsegpt", CPU, [Finding(TIME, Status.NOT_RUN, "needs a GPU")])
    claims = [claim(SPARSITY), claim(TIME)]
    found = outcomes.latest(claims)
    assert [outcomes.in_words(found.get(claim.pk)) for claim in claims] == [
        "no study speaks to this",
        "not run: needs a GPU",
    ]


def test_the_database_refuses_an_unknown_status(review: Review) -> None:
    run = a_finished_run()
    [kept] = outcomes.keep(run.pk, "sparsegpt", CPU, [Finding(TIME, Status.SUPPORTED)])
    with pytest.raises(IntegrityError), transaction.atomic():
        Outcome.objects.filter(pk=kept.pk).update(status="perhaps")
