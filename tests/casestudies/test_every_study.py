"""The pages of every study of the catalogue, on a result that ships with the project."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import QUICK
from casestudies.models import Run
from casestudies.studies import reference_runs
from casestudies.studies.results import for_list, headline
from reviewapp.corpus.models import Review
from tests.casestudies.making import NOON, a_person, a_run
from tests.queries import count_queries


@pytest.mark.parametrize("slug", STUDIES)
def test_its_pages_cost_as_many_queries_for_one_run_as_for_three(
    client: Client, review: Review, slug: str, tmp_path: Path
) -> None:
    shutil.copy(reference_runs.FOLDER / f"{slug}-{QUICK}-2-core-cpu.json", tmp_path)
    reference_runs.load(tmp_path)
    shipped = for_list(Run.objects.all()).get()
    assert len(headline(shipped)) == len(STUDIES[slug].headline)
    pages = [
        f"/case-studies/{slug}/",
        f"/dashboards/?study={slug}",
        shipped.get_absolute_url(),
    ]
    before = {page: count_queries(client, page) for page in pages}
    for n in range(2):
        run_again(shipped, n)
    assert {page: count_queries(client, page) for page in pages} == before
    assert max(before.values()) <= 20


def run_again(shipped: Run, n: int) -> None:
    """Store a run of another person that found the same on another day."""
    day = NOON + timedelta(days=n + 1)
    again = a_run(
        shipped.study,
        "succeeded",
        preset=shipped.preset,
        parameters=shipped.parameters,
        owner=a_person(f"p{n}"),
        created=day,
        started=day,
        finished=day,
    )
    again.keep_result(shipped.result)
