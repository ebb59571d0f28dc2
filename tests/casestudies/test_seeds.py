"""One bound on seeds, wherever a run is asked for or read."""

from typing import Any

import pytest
from django.test import Client
from pydantic import ValidationError
from rest_framework.authtoken.models import Token

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.result import LARGEST_SEED, Result
from casestudies.models import Run
from tests.casestudies.making import ENVIRONMENT, a_person
from tests.lab.smoke import lab

pytestmark = pytest.mark.django_db

FORM = {
    **STUDIES["sparsegpt"].check("smoke", {}).model_dump(mode="json"),
    "preset": "smoke",
    "device": "cpu",
}


@pytest.fixture
def asker(client: Client) -> dict[str, str]:
    """Sign somebody in who may start runs, and return the header with the token."""
    ada = a_person("ada", "add_run")
    client.force_login(ada)
    return {"Authorization": f"Token {Token.objects.create(user=ada).key}"}


def asked(client: Client, headers: dict[str, str], seed: int) -> set[int]:
    """Return how the form and the API answer to a run with the seed."""
    body = {"study": "sparsegpt", "preset": "smoke", "seed": seed}
    return {
        client.post("/case-studies/sparsegpt/", {**FORM, "seed": seed}).status_code,
        client.post(
            "/api/v1/runs/", body, content_type="application/json", headers=headers
        ).status_code,
    }


def result(seed: int) -> Result:
    head: dict[str, Any] = {
        "study": "s",
        "parameters": {},
        "seed": seed,
        "environment": ENVIRONMENT,
    }
    return Result(**head, measurements=[], series=[], verdict="")


@pytest.mark.parametrize("seed", [0, LARGEST_SEED])
def test_a_seed_within_the_bound_is_taken_everywhere(
    client: Client, asker: dict[str, str], seed: int
) -> None:
    assert asked(client, asker, seed) == {302, 201}
    assert set(Run.objects.values_list("seed", flat=True)) == {seed}
    assert result(seed).seed == seed


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1])
def test_a_seed_beyond_it_is_refused_everywhere(
    client: Client, asker: dict[str, str], seed: int
) -> None:
    assert asked(client, asker, seed) == {400}
    assert not Run.objects.exists()
    with pytest.raises(ValidationError, match="seed"):
        result(seed)
    done = lab("run", "sparsegpt", "--seed", str(seed))
    line = f"seed: {seed} is not valid; integer, 0 to {LARGEST_SEED}\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
