"""What pages, files and the API cost does not depend on how many publications there are."""

import pytest
from django.test import Client

from benchmarks.synthetic import add_publications
from reviewapp.corpus.models import Review
from tests.queries import count_queries
from tests.test_pages import PAGES

pytestmark = pytest.mark.django_db

COMPARED = "/compare/?strategies=distillation,pruning,quantization"
# The most queries that each may cost; no page costs more than 30.
MOST = {
    **dict.fromkeys(PAGES, 30),
    **dict.fromkeys(
        [
            "/taxonomy/",
            "/taxonomy/?pivot=class",
            "/taxonomy/?select=group:size-reduction",
            "/taxonomy/?memory=not-stated&from=2020",
            "/compare/",
            COMPARED,
            "/compare/?publications=fang2020turbotransformers,kwon2023vllm",
        ],
        18,
    ),
    "/taxonomy/quantization/": 24,
    "/publications/?q=memory&strategy=offloading&from=2020&sort=claims": 30,
    "/publications/?phase=inference&strategy=quantization&device_memory=not-stated": 30,
    "/publications/export.csv?sort=claims": 14,  # which has no more of a claim than its code
    "/publications/export.json": 30,
    "/publications/kurtic2022obert/": 30,
    "/claims/kurtic2022obert-0/": 30,
    "/claims/export.csv": 30,
    "/replication/export.csv": 30,
    "/search/?q=memory": 30,
    "/search/?q=memory&group=claims": 30,
    "/api/v1/search/?q=memory": 30,
    # A claim is told with what ten other tables say of it; a search first learns of all texts.
    "/api/v1/publications/": 22,
    "/api/v1/strategies/": 22,
    "/api/v1/claims/": 22,
    "/api/v1/prisma/": 22,
    "/api/v1/publications/?q=memory": 35,
}


def test_more_publications_cost_no_more_queries(client: Client, review: Review) -> None:
    before = {address: count_queries(client, address) for address in MOST}
    add_publications(150)
    assert {address: count_queries(client, address) for address in MOST} == before
    assert {address: n for address, n in before.items() if n > MOST[address]} == {}
