"""The page of each claim."""

import pytest
from django.test import Client

from reviewapp.corpus.models import Review

pytestmark = pytest.mark.django_db


def test_an_unknown_claim_is_named_and_leads_to_its_publication(
    client: Client, review: Review
) -> None:
    for code in (
        "frantar2023sparsegpt-99",
        "frantar2023sparsegpt-00",
        "frantar2023sparsegpt-99999",
    ):
        response = client.get(f"/claims/{code}/")
        assert response.status_code == 404
        html = response.content.decode()
        assert f"There is no claim “{code}”" in html
        assert "/publications/frantar2023sparsegpt/#claims" in html
    response = client.get("/claims/nothing/")
    assert response.status_code == 404
    assert "No publication has the key" in response.content.decode()
    assert client.get("/claims/frantar2023sparsegpt-0/").status_code == 200
