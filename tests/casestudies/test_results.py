"""Reported beside measured: which run speaks for a study, and where its numbers are shown."""

import csv
import html
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from casestudies.contributions import keeping
from casestudies.lab.catalogue import STUDIES
from casestudies.models import Contribution, Measurement, Run
from casestudies.studies import results
from casestudies.studies.results import answered_claims, headline, origin, settings_of
from reviewapp.corpus.models import Review
from taxonomy.loading.writing import load
from taxonomy.models import Claim, Outcome
from taxonomy.queries import findings_revision
from tests.casestudies.making import ENVIRONMENT, MEASURED, NOON, a_finished_run, a_run
from tests.conftest import real_fixtures
from tests.queries import count_queries

pytestmark = pytest.mark.django_db
STUDY = STUDIES["sparsegpt"]
PAIR = "strategies=pruning,quantization"
LATER = NOON + timedelta(days=1)


@pytest.fixture(autouse=True)
def _this_study_only() -> Iterator[None]:
    # What reads the catalogue as it is imported must not read this one.
    import_module("reviewapp.urls")
    every = dict(STUDIES)
    for slug in STUDIES.keys() - {STUDY.slug}:
        del STUDIES[slug]
    yield
    # Anew, so that they stand in their order again.
    STUDIES.clear()
    STUDIES.update(every)


def shown(client: Client, address: str) -> str:
    page = client.get(address).content.decode()
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def standing() -> Run:
    return results.standing_results([STUDY.slug])[STUDY.slug]


def test_one_s_own_runs_stand_before_reference_runs_and_later_before_earlier() -> None:
    gpu = a_finished_run(reference="sparsegpt-quick-gpu", device="cuda", finished=LATER)
    assert standing() == gpu
    shipped = a_finished_run(reference="sparsegpt-quick")
    assert standing() == shipped
    own = a_finished_run()
    assert standing() == own
    a_run()
    a_run(state="failed", finished=LATER)
    assert standing() == own
    latest = a_finished_run(device="cuda", finished=LATER)
    assert standing() == latest


def test_a_run_that_shows_less_stands_only_where_there_is_no_other() -> None:
    smoke = a_finished_run(preset="smoke", finished=LATER)
    assert standing() == smoke
    claims = a_finished_run(preset="claims", finished=LATER)
    assert standing() == claims
    shipped = a_finished_run(reference="sparsegpt-quick")
    assert standing() == shipped
    full = a_finished_run(reference="sparsegpt-full", preset="full")
    assert standing() == full
    a_finished_run(finished=LATER)
    a_finished_run(reference="sparsegpt-full-gpu", preset="full", device="cuda", finished=LATER)
    assert standing() == full


ASKED = STUDY.check("claims", {}).model_dump(mode="json")


def a_claims_run(ratio: float, **values: Any) -> Run:
    """Return a run that speaks to the first claim: direction agrees below Wanda's ratio of 2."""
    ratios = {"magnitude": 26.0, "wanda": 2.0, "sparsegpt": ratio}
    measured = [("perplexity ratio", variant, value) for variant, value in ratios.items()]
    defaults = {"preset": "claims", "parameters": ASKED, "measured": measured}
    return a_finished_run(**{**defaults, **values})


def first_claim() -> results.AnsweredClaim:
    return answered_claims(STUDY)[0]


def test_a_claim_without_a_run_is_not_run(review: Review) -> None:
    row = first_claim()
    assert (row.status, row.run, row.reason) == ("not run", None, "no run yet")
    assert row.claim
    assert row.claim.code == "frantar2023sparsegpt-0"


@pytest.mark.parametrize(
    ("ratio", "status"),
    [(1.99, "direction agrees"), (2.0, "not reproduced"), (14.0, "not reproduced")],
)
def test_a_claim_is_judged_by_its_rule(review: Review, ratio: float, status: str) -> None:
    run = a_claims_run(ratio)
    row = first_claim()
    assert (row.status, row.run) == (status, run)
    assert row.outcome
    assert row.outcome.numbers[0] == {
        "name": "perplexity ratio, SparseGPT",
        "value": ratio,
        "unit": "x",
        "claimed": False,
    }
    assert row.outcome.hardware == "2-core CPU"


def test_the_run_that_speaks_to_a_claim_stands_before_later_ones_that_do_not(
    review: Review,
) -> None:
    shipped = a_claims_run(1.5, reference="shipped", finished=LATER)
    # It measured the same, but what a rule asks for is what the preset claims does.
    quick = a_claims_run(2.5, reference="shipped-quick", preset="quick", finished=LATER)
    assert first_claim().run == shipped
    quick.delete()
    own = a_claims_run(2.5)
    assert (first_claim().run, first_claim().status) == (own, "not reproduced")
    a_finished_run(finished=LATER)
    a_claims_run(1.5, preset="smoke", finished=LATER)
    assert first_claim().run == own
    Run.objects.filter(preset="claims").delete()
    assert (first_claim().status, first_claim().reason) == (
        "not run",
        "this run pruned otherwise; the rule asks for 60 % zeros, anywhere",
    )


def test_outcomes_of_an_older_version_rank_as_they_do_now(review: Review) -> None:
    own = a_claims_run(2.5)
    Outcome.objects.update(rank=0, shipped=True, counts=False)
    a_claims_run(1.5, reference="shipped", finished=LATER)
    results.judge_by_new_rules()
    assert first_claim().run == own


def test_a_run_is_judged_again_by_a_rule_that_is_new_to_it() -> None:
    """As one is that was made before the claims had rules."""
    run = a_finished_run()
    assert not Outcome.objects.exists()
    load(real_fixtures())
    results.judge_by_new_rules()
    first = set(Outcome.objects.filter(run=run.pk).values_list("pk", "rule_written"))
    assert len(first) == len(STUDY.answers)
    results.judge_by_new_rules()
    assert set(Outcome.objects.values_list("pk", "rule_written")) == first
    answer = STUDY.answers[0].claim
    Claim.objects.by_code([answer]).update(rule_written=LATER.date())
    results.judge_by_new_rules()
    assert Outcome.objects.get(rule_written=LATER.date()).claim.code == answer


def test_a_claim_that_is_not_recorded_is_told_by_its_name(review: Review) -> None:
    Claim.objects.by_code(["frantar2023sparsegpt-0"]).delete()
    a_claims_run(1.5)
    row = first_claim()
    assert (row.claim, row.status) == (None, "not run")


def test_the_headline_is_what_the_study_declares(monkeypatch) -> None:
    a_finished_run()
    run = results.for_list(Run.objects.all()).get()
    assert [(m.metric, m.variant) for m in headline(run)] == [
        ("perplexity ratio", "sparsegpt"),
        ("sparsity", "sparsegpt"),
    ]
    monkeypatch.delitem(STUDIES, STUDY.slug)
    assert headline(run) == []
    assert settings_of(run) == "quick preset"


def test_the_origin_names_settings_hardware_and_date() -> None:
    run = a_finished_run()
    assert origin(run) == "quick preset; Example Processor, 2 cores, 2 threads; 1 March 2026"
    run.parameters |= {"sparsity": 0.6, "curve": False}
    assert settings_of(run) == "quick preset with sparsity 0.6, curve off"


def test_strategy_and_publication_pages_show_the_latest_result(
    client: Client, review: Review
) -> None:
    pages = ("/taxonomy/pruning/", "/publications/frantar2023sparsegpt/")
    for page in pages:
        assert "Result: not run" in shown(client, page)
    a_finished_run(reference="sparsegpt-quick")
    for page in pages:
        text = shown(client, page)
        assert STUDY.title in text
        assert "Result: Perplexity goes from 13 to 20.4. reference run, 2-core CPU" in text
    own = a_finished_run(verdict="Something else.")
    for page in pages:
        assert f"Result: Something else. run {own.pk} ; quick preset" in shown(client, page)
        assert own.get_absolute_url() in client.get(page).content.decode()
    assert "No case study of this site is about" in shown(client, "/taxonomy/quantization/")
    assert "Measured here" not in shown(client, "/publications/zheng2023sglang/")


def compared(client: Client, query: str = PAIR) -> dict[str, str]:
    content = client.get(f"/compare/export.csv?{query}").content.decode("utf-8-sig")
    rows = csv.DictReader(io.StringIO(content))
    return next(row for row in rows if row["property"].startswith("Studies of one"))


def test_the_comparison_says_not_run_until_something_is_measured(
    client: Client, review: Review
) -> None:
    row = compared(client)
    assert row["section"] == "Measured by case studies"
    assert row["Pruning"] == f"{STUDY.title}; not run"
    assert row["Quantization"] == "— (no study of this strategy alone)"
    neither = shown(client, "/compare/?strategies=offloading,quantization")
    assert re.search(r"Measured results No case study. not run not run", neither)


def test_a_study_of_several_strategies_has_a_row_of_its_own(client: Client, review: Review) -> None:
    run = a_finished_run()
    query = "strategies=algorithmic-optimization,pruning,quantization"
    content = client.get(f"/compare/export.csv?{query}").content.decode()
    rows = {row["property"]: row for row in csv.DictReader(io.StringIO(content))}
    row = rows[STUDY.title]
    assert row["Pruning"] == row["Algorithmic optimization"]
    assert f"run {run.pk}" in row["Pruning"]
    assert row["Quantization"] == "— (the study is not about this strategy)"
    assert "Studies of one strategy" not in rows


def test_the_comparison_shows_what_was_measured_with_its_run_in_every_export(
    client: Client, review: Review
) -> None:
    run = a_finished_run(environment={**ENVIRONMENT, "load": 9, "cores": 2})
    told = [
        "The machine was busy when the run began (load 9.0 on 2 cores)",
        "perplexity ratio, sparsegpt: 1.554 x",
        "sparsity, sparsegpt: 0.5 fraction",
        f"run {run.pk} (quick preset; Example Processor, 2 cores, 2 threads; 1 March 2026)",
    ]
    cell = compared(client)["Pruning"]
    page = client.get(f"/compare/?{PAIR}").content.decode()
    latex = client.get(f"/compare/export.tex?{PAIR}").content.decode()
    for words in told:
        assert words in cell
        assert words in latex
    assert f'<a href="{run.get_absolute_url()}">run {run.pk}</a>' in page
    sections = client.get(f"/compare/export.json?{PAIR}").json()["sections"]
    (row,) = sections[-1]["rows"]
    assert row["cells"][0]["parts"][-1]["href"] == run.get_absolute_url()
    publications = "publications=frantar2022gptq,frantar2023sparsegpt"
    assert "1.554 x" in compared(client, publications)["SparseGPT"]


def test_each_change_of_what_was_measured_shows_at_once(client: Client, review: Review) -> None:
    def stands() -> str:
        found = re.search(r"\b(not run|(contributed )?run \d+)\b", compared(client)["Pruning"])
        assert found
        return found[0]

    assert stands() == "not run"
    by_another = Contribution.objects.create(contributor="Grace", created=NOON)
    brought = a_finished_run(contribution=by_another)
    assert stands() == "not run"
    judge = User.objects.create(username="judge")
    keeping.accept(by_another, judge)
    assert stands() == f"contributed run {brought.pk}"
    begun = a_run(state="running")
    Run.objects.filter(pk=begun.pk).update(state="succeeded", claim=None, finished=LATER)
    assert stands() == f"run {begun.pk}"
    begun.delete()
    Measurement.objects.filter(run=brought, metric="sparsity").update(value=0.625)
    assert "0.625 fraction" in compared(client)["Pruning"]
    keeping.withdraw(by_another, judge)
    assert stands() == "not run"


def test_a_run_that_has_not_ended_makes_no_page_forget_what_it_knows() -> None:
    begun = a_run(state="running")
    before = findings_revision()
    Run.objects.filter(pk=begun.pk).update(heartbeat=LATER, done=0.5)
    Run.objects.filter(pk=a_run().pk).update(note="of no interest")
    assert findings_revision() == before


@pytest.mark.parametrize("address", ["/taxonomy/pruning/", f"/compare/?{PAIR}"])
def test_the_number_of_queries_does_not_depend_on_the_runs(
    client: Client, review: Review, address: str
) -> None:
    a_finished_run()
    count_queries(client, address)
    before = count_queries(client, address)
    for n in range(6):
        a_finished_run(measured=MEASURED[n:], reference=f"r{n}" if n % 2 else None)
    count_queries(client, address)  # what a page remembers is read again after a new outcome
    assert count_queries(client, address) == before
