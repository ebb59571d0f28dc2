"""What was tried here: every claim in one place of each count, and nothing counted twice."""

import csv
import io
import json
import re
from collections import Counter
from html import unescape

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from reviewapp.corpus.models import Review
from taxonomy.choices import Replicability, Scope, Status
from taxonomy.claims import outcomes
from taxonomy.claims.agreement import agreements, kappa
from taxonomy.claims.outcomes import Finding, Judged
from taxonomy.models import Claim
from taxonomy.queries import findings_revision, revision
from taxonomy.replication.outcomes import Result
from taxonomy.replication.tally import replication
from tests.casestudies.making import a_finished_run
from tests.conftest import real_fixtures

pytestmark = pytest.mark.django_db

SPARSITY, TIME, QMOE = "frantar2023sparsegpt-0", "frantar2023sparsegpt-1", "frantar2023qmoe-0"


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def found(client: Client, query: str = "") -> list[dict[str, object]]:
    response = client.get(f"/replication/export.json{query}")
    assert response.status_code == 200
    claims: list[dict[str, object]] = json.loads(response.getvalue())["claims"]
    return claims


def try_three() -> None:
    """Have two machines disagree on one claim, one support another, one say why it cannot."""
    for hardware, status in (("CPU", Status.SUPPORTED), ("GPU", Status.NOT_REPRODUCED)):
        run = a_finished_run()
        findings = [Finding(SPARSITY, status), Finding(QMOE, Status.SUPPORTED)]
        findings.append(Finding(TIME, Status.NOT_RUN, "needs a GPU"))
        outcomes.keep([(Judged(run.pk, "sparsegpt", hardware), findings)])


def test_each_claim_is_counted_once_by_what_the_fixtures_say(
    client: Client, review: Review
) -> None:
    try_three()
    known = replication(revision(), findings_revision())
    claims = list(real_fixtures().claims.values())
    assert {tally.key: tally.claims for tally in known.by_testability} == Counter(
        claim.replication.testable.value for claim in claims
    )
    assert {tally.key: tally.claims for tally in known.by_study} == Counter(
        claim.replication.study for claim in claims if claim.replication.study
    )
    under = Counter(slug for claim in claims for slug in claim.attribution.strategies)
    assert {tally.key: tally.claims for tally in known.by_strategy} == under
    could = sum(
        claim.replication.testable not in (Replicability.NO, Replicability.GPU_ONLY)
        for claim in claims
    )
    line = f"1 supported of {could} that a CPU could try, of {len(claims)} claims"
    page = text(client.get("/replication/").content.decode())
    assert line in page
    assert line in text(client.get("/").content.decode())
    assert f"A run has judged 2 of those {could}, and 0 of the" in page
    assert len(found(client, "?testable=cpu")) == could
    known_before = sum(claim.replication.blind is False for claim in claims)
    assert f"{known_before} of them were written with the outcome known" in page


def test_claims_of_extensions_can_be_left_out(client: Client, review: Review) -> None:
    of_extensions = Claim.objects.filter(publication__membership="extension").count()
    page = text(client.get("/replication/").content.decode())
    assert f"{of_extensions} of the 177 claims are in extensions" in page
    kept = found(client, "?counted=yes")
    assert len(kept) == 177 - of_extensions
    assert "extension" not in {row["membership"] for row in kept}


def test_what_is_listed_is_what_is_counted(client: Client, review: Review) -> None:
    try_three()
    known = replication(revision(), findings_revision())
    for by, tallies in (
        ("testable", known.by_testability),
        ("strategy", known.by_strategy),
        ("study", known.by_study),
    ):
        rows = found(client)
        key = {"strategy": "strategies"}.get(by, by)
        for tally in tallies:
            mine = [row for row in rows if tally.key in _listed(row[key])]
            assert Counter(row["outcome"] for row in mine) == Counter(
                {result.value: n for _, n, result in tally.parts}
            )
    for tally in known.by_testability:
        for _, n, result in tally.parts:
            rows = found(client, f"?testable={tally.key}&outcome={result.value}")
            assert len(rows) == n
            assert {row["outcome"] for row in rows} == {result.value}


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def test_runs_that_disagree_are_shown_as_such(client: Client, review: Review) -> None:
    try_three()
    [row] = found(client, "?outcome=conflicting")
    assert row["claim"] == SPARSITY
    assert row["conflicting"] == ["not reproduced on GPU", "supported on CPU"]
    page = text(client.get("/replication/?outcome=conflicting").content.decode())
    assert "not reproduced on GPU; supported on CPU" in page
    assert "1 claim of 177" in page
    assert '<rect class="conflicting" x=' in client.get("/replication/").content.decode()


def test_what_was_not_run_says_why(client: Client, review: Review) -> None:
    try_three()
    reasons = {row["claim"]: row["reason"] for row in found(client, "?outcome=not run")}
    assert reasons.pop(TIME) == "needs a GPU"
    assert set(reasons.values()) == {"no run yet"}


def test_every_page_of_the_list_holds_other_claims_those_tried_first(
    client: Client, review: Review
) -> None:
    try_three()
    codes: list[str] = []
    for number in range(1, 9):
        page = client.get(f"/replication/?page={number}").content.decode()
        codes += re.findall(r'<h3><a href="/claims/([-\w]+)/">', page)
    assert len(codes) == len(set(codes)) == 177
    assert codes[:3] == [QMOE, SPARSITY, TIME], "supported, conflicting, not run"
    assert codes == [row["claim"] for row in found(client)]


def test_the_csv_says_when_by_which_version_and_under_what_licence(
    client: Client, review: Review
) -> None:
    sent = client.get("/replication/export.csv?study=sparsegpt").getvalue().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(sent)))
    assert {row["study"] for row in rows} == {"sparsegpt"}
    assert all(row["export_licence"] and row["export_version"] for row in rows)
    assert all(row["rule_written"].startswith("2026-") for row in rows)


def test_two_readings_agree_as_counted_by_hand(client: Client, review: Review) -> None:
    again = [c for c in real_fixtures().claims.values() if c.attribution.second_reading]
    alike = [c for c in again if c.attribution.scope == c.attribution.second_reading.scope]  # type: ignore[union-attr]
    testable = [c for c in again if not c.replication.second_reading]
    known = agreements()
    assert (known.scope.alike, known.scope.readings) == (len(alike), len(again)) == (57, 60)
    assert known.testable.alike == len(testable) == 45
    page = text(client.get("/about/").content.decode())
    assert "agree on the scope of 57 of 60 (Cohen’s kappa 0.91)" in page
    assert "for 45 of 60" in page
    assert len(found(client, "?differ=yes")) == 15
    differing = client.get("/replication/?differ=yes").content.decode()
    assert differing.count("; the second reading says: ") == 15


@given(st.lists(st.tuples(st.sampled_from(Scope.values), st.sampled_from(Scope.values))))
def test_kappa_is_one_for_agreement_and_never_more(pairs: list[tuple[str, str]]) -> None:
    value = kappa(pairs)
    same = kappa([(first, first) for first, _ in pairs])
    assert same in (None, 1)
    assert value is None or value <= 1
    # Readers may change places.
    swapped = kappa([(second, first) for first, second in pairs])
    assert value == pytest.approx(swapped) if value is not None else swapped is None


def test_kappa_as_in_a_textbook() -> None:
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert kappa(pairs) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "query", ["testable=nope", "outcome=%00", "strategy=<script>", "study=" + "x" * 5000]
)
def test_what_cannot_be_asked_is_said(client: Client, review: Review, query: str) -> None:
    response = client.get(f"/replication/?{query}")
    assert response.status_code == 400
    assert "<script>" not in response.content.decode()


def test_every_result_has_a_word_for_the_address() -> None:
    assert len({result.key for result in Result}) == len(Result)
