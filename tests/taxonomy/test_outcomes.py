"""What runs found of claims: written whole for each run, filtered in SQL, said in words."""

import re
from datetime import date
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from casestudies.models import Run
from reviewapp.corpus.models import Review
from taxonomy.choices import Status
from taxonomy.claims import outcomes
from taxonomy.claims.outcomes import Finding, Judged, Number
from taxonomy.models import Claim, Outcome
from tests.casestudies.making import a_finished_run
from tests.queries import count_queries

SPARSITY, TIME = "frantar2023sparsegpt-0", "frantar2023sparsegpt-1"
CPU = "CPU, 2 cores"


def by(run: Run, hardware: str = CPU) -> Judged:
    return Judged(run.pk, "sparsegpt", hardware)


def claim(code: str) -> Claim:
    return Claim.objects.by_code([code]).get()


def codes(claims) -> list[str]:
    return sorted(claim.code for claim in claims.select_related("publication"))


def test_claims_tried_here_are_found_by_status(review: Review) -> None:
    first, second = a_finished_run(), a_finished_run()
    for run in (first, second):
        found = [Finding(SPARSITY, Status.SUPPORTED), Finding(TIME, Status.NOT_RUN, "needs a GPU")]
        outcomes.keep([(by(run), found)])
    assert codes(Claim.objects.tried()) == [SPARSITY, TIME]
    assert codes(Claim.objects.tried([Status.SUPPORTED])) == [SPARSITY]
    assert not Claim.objects.tried([Status.NOT_REPRODUCED]).exists()


def test_an_outcome_keeps_its_numbers_and_the_date_of_its_rule(review: Review) -> None:
    run = a_finished_run()
    numbers = (Number("sparsity", 0.6), Number("pruning time", 15.3, "s"))
    outcomes.keep([(by(run), [Finding(SPARSITY, Status.SUPPORTED, "", numbers)])])
    kept = claim(SPARSITY).outcomes.get()
    assert (kept.run, kept.study, kept.hardware) == (run.pk, "sparsegpt", CPU)
    assert kept.numbers == [
        {"name": "sparsity", "value": 0.6, "unit": "", "claimed": False},
        {"name": "pruning time", "value": 15.3, "unit": "s", "claimed": False},
    ]
    assert kept.rule_written == claim(SPARSITY).rule_written == date(2026, 11, 26)


def test_writing_again_replaces_the_outcomes_of_that_run_only(review: Review) -> None:
    first, second = a_finished_run(), a_finished_run()
    for run in (first, second):
        found = [Finding(SPARSITY, Status.SUPPORTED), Finding(TIME, Status.NOT_COMPARABLE)]
        outcomes.keep([(by(run), found)])
    outcomes.keep([(by(first), [Finding(TIME, Status.SUPPORTED)])])
    assert codes(Claim.objects.filter(outcomes__run=first.pk)) == [TIME]
    assert codes(Claim.objects.filter(outcomes__run=second.pk)) == [SPARSITY, TIME]


def test_a_claim_that_is_not_loaded_is_left_out(review: Review) -> None:
    run = a_finished_run()
    found = [Finding(SPARSITY, Status.SUPPORTED), Finding("nobody2023-0", Status.SUPPORTED)]
    outcomes.keep([(by(run), found)])
    assert codes(Claim.objects.tried()) == [SPARSITY]


def in_words(code: str) -> str:
    [standing] = outcomes.standings([claim(code)])
    return standing.in_words


def test_what_came_of_a_claim_is_said_in_words(review: Review) -> None:
    unasked = Claim.objects.filter(study="").select_related("publication").first()
    assert unasked
    assert in_words(unasked.code) == "no study speaks to this"
    assert in_words(TIME) == "not run: no run yet"
    run = a_finished_run()
    outcomes.keep([(by(run), [Finding(TIME, Status.NOT_RUN, "needs a GPU")])])
    assert in_words(TIME) == "not run: needs a GPU"
    outcomes.keep([(by(run), [Finding(TIME, Status.SUPPORTED)])])
    assert in_words(TIME) == "supported"


def test_of_several_runs_the_latest_that_speaks_and_ranks_highest_stands(review: Review) -> None:
    first, second, third, fourth = (a_finished_run() for _ in range(4))
    for run, status, rank in (
        (first, Status.SUPPORTED, 1),
        (second, Status.NOT_REPRODUCED, 1),
        (third, Status.NOT_RUN, 2),
        (fourth, Status.SUPPORTED, 0),
    ):
        outcomes.keep([(Judged(run.pk, "sparsegpt", CPU, rank), [Finding(TIME, status)])])
    assert in_words(TIME) == "not reproduced"


def test_runs_on_two_kinds_of_hardware_that_differ_are_both_said(review: Review) -> None:
    first, second = a_finished_run(), a_finished_run()
    outcomes.keep([(by(first), [Finding(TIME, Status.NOT_REPRODUCED)])])
    outcomes.keep([(by(second, "H100"), [Finding(TIME, Status.SUPPORTED)])])
    assert in_words(TIME) == f"supported on H100; not reproduced on {CPU}"


def test_of_runs_that_agree_the_one_to_lean_on_comes_first(review: Review) -> None:
    """What ranks highest, then what was made here, then what came with the project, then latest."""
    made: list[tuple[dict[str, Any], str]] = [
        ({"rank": 1, "accepted": True}, "contributed"),
        ({"rank": 1, "shipped": True}, "shipped"),
        ({"rank": 1}, "made here"),
        ({"rank": 1}, "made here later"),
        ({"rank": 2, "accepted": True}, "of a higher rank"),
    ]
    for values, hardware in made:
        judged = Judged(a_finished_run().pk, "sparsegpt", hardware, **values)
        outcomes.keep([(judged, [Finding(TIME, Status.SUPPORTED)])])
    silent = Judged(a_finished_run().pk, "sparsegpt", "silent", rank=3)
    outcomes.keep([(silent, [Finding(TIME, Status.NOT_RUN, "needs a GPU")])])
    [standing] = outcomes.standings([claim(TIME)])
    assert [one.hardware for one in standing.outcomes] == [
        "of a higher rank",
        "made here later",
        "made here",
        "shipped",
        "contributed",
        "silent",
    ]


def test_a_run_that_does_not_count_is_kept_and_never_stands(review: Review) -> None:
    run = a_finished_run()
    changed = Judged(run.pk, "sparsegpt", CPU, counts=False)
    outcomes.keep([(changed, [Finding(TIME, Status.SUPPORTED)])])
    assert claim(TIME).outcomes.count() == 1
    assert in_words(TIME) == "not run: no run yet"


def test_a_publication_and_the_api_say_what_came_of_each_claim(
    client: Client, review: Review
) -> None:
    run = a_finished_run()
    outcomes.keep([(by(run), [Finding(TIME, Status.NOT_RUN, "needs a GPU")])])
    page = client.get("/publications/frantar2023sparsegpt/").content.decode()
    [row] = [row for row in page.split("<tr>") if "4.5" in row and "</th>" in row]
    words = " ".join(re.sub(r"<[^>]+>", " ", row).split())
    assert f"not run needs a GPU run {run.pk} , {CPU}" in words
    assert run.get_absolute_url() in row

    listed = client.get("/api/v1/claims/?publication=frantar2023sparsegpt").json()["results"]
    assert [(row["outcome"], row["outcome_in_words"]) for row in listed] == [
        (None, "not run: no run yet"),
        (
            {
                "status": "not run",
                "reason": "needs a GPU",
                "hardware": CPU,
                "run": run.pk,
                "study": "sparsegpt",
                "shipped": False,
                "origin": "here",
                "rule_written": "2026-11-26",
                "numbers": [],
            },
            "not run: needs a GPU",
        ),
        (None, "not run: no run yet"),
    ]


@pytest.mark.parametrize(
    "address", ["/publications/frantar2023sparsegpt/", "/api/v1/claims/?page_size=100"]
)
def test_outcomes_cost_as_many_queries_however_many_there_are(
    client: Client, review: Review, address: str
) -> None:
    a_finished_run()
    count_queries(client, address)
    before = count_queries(client, address)
    for _ in range(3):
        run = a_finished_run()
        found = [Finding(code, Status.SUPPORTED) for code in codes(Claim.objects.all())]
        outcomes.keep([(by(run), found)])
    assert count_queries(client, address) == before


def test_the_database_refuses_an_unknown_status(review: Review) -> None:
    run = a_finished_run()
    [kept] = outcomes.keep([(by(run), [Finding(TIME, Status.SUPPORTED)])])
    with pytest.raises(IntegrityError), transaction.atomic():
        Outcome.objects.filter(pk=kept.pk).update(status="perhaps")
