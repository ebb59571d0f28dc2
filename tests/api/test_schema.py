"""The API keeps its description, whatever it is asked and whoever asks."""

from collections.abc import Container, Iterable, Iterator
from itertools import islice
from typing import Any

import pytest
import schemathesis
from django.contrib.auth.models import User
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rest_framework.authtoken.models import Token
from rest_framework.throttling import SimpleRateThrottle
from schemathesis import GenerationMode
from schemathesis.config import GenerationConfig

from casestudies import serializers
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.models import Run, Sweep
from reviewapp.corpus.models import Review
from reviewapp.wsgi import application
from tests.casestudies.making import a_finished_run, a_person, a_run, a_sweep

# Always the same requests: a failure can be looked at, and one found by chance gets its own test.
HOW = settings(
    max_examples=10,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
READ_EVERY = 7  # lists have many filters with many choices


@pytest.fixture
def _one_connection() -> Iterator[None]:
    """Let the site's requests see the test's transaction instead of closing its connection."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def _no_limits(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Let everybody ask as often, and have as many runs waiting, as a test likes."""
    for scope in SimpleRateThrottle.THROTTLE_RATES:
        monkeypatch.setitem(SimpleRateThrottle.THROTTLE_RATES, scope, None)
    settings.RUNS_QUEUED_PER_USER = 10**6


@pytest.fixture
def _few_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe the runs of three studies that have between them every kind of parameter."""
    few = {slug: STUDIES[slug] for slug in ("sparsegpt", "decentralized", "zero")}
    assert kinds_of_parameters(few.values()) == kinds_of_parameters(STUDIES.values())
    assert {"model" in study.accepts for study in few.values()} == {True, False}
    monkeypatch.setattr(serializers, "STUDIES", few)


def kinds_of_parameters(studies: Iterable[Study]) -> set[tuple[str, frozenset[str]]]:
    """Return type and kinds of bounds of each parameter."""
    bounds = {"enum", "minimum", "maximum", "multipleOf"}
    schemas = [schema for study in studies for schema in study.schemas.values()]
    return {(schema["type"], frozenset(bounds & {*schema})) for schema in schemas}


@pytest.fixture
def there(review: Review) -> dict[str, dict[str, Any]]:
    """What the addresses of one thing may name."""
    owner = a_person("owner")
    shown, waiting = a_finished_run(), a_run(owner=owner)
    swept = a_run(owner=owner, sweep=a_sweep(owner=owner))
    return {
        "/api/v1/publications/{key}/": {"key": "frantar2023sparsegpt"},
        "/api/v1/claims/{code}/": {"code": "frantar2023sparsegpt-0"},
        "/api/v1/strategies/{slug}/": {"slug": "pruning"},
        "/api/v1/studies/{slug}/": {"slug": "sparsegpt"},
        "/api/v1/runs/{id}/": {"id": shown.pk},
        "/api/v1/runs/{id}/cancel/": {"id": waiting.pk},
        "/api/v1/runs/{id}/annotation/": {"id": waiting.pk},
        "/api/v1/sweeps/{id}/": {"id": swept.sweep_id},
        "/api/v1/sweeps/{id}/cancel/": {"id": swept.sweep_id},
    }


def answers(
    who: User | None,
    there: dict[str, dict[str, Any]],
    *,
    methods: Container[str] = ("get", "post"),
    thorough: bool = False,
) -> dict[str, set[int]]:
    """Ask each operation what its description allows, and what is next to that, as `who`.

    Thoroughly is each choice, bound, format and method in turn, thousands of requests, of which
    those that only read are thinned out; always some at random of what is there. Return what
    statuses each has answered with; raise where an answer is not as described.
    """
    token = Token.objects.create(user=who).key if who else ""
    headers = {"Authorization": f"Token {token}"} if token else {}
    seen: dict[str, set[int]] = {}

    def ask(case: Any) -> None:
        response = case.call_and_validate(headers=headers)
        seen.setdefault(case.operation.label, set()).add(response.status_code)

    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/", application)
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if operation.method not in methods:
            continue
        modes = list(GenerationMode)
        if thorough:
            covering = schema.iter_coverage_cases(
                operation, generation_modes=modes, generation_config=GenerationConfig()
            )
            for case in islice(covering, 0, None, READ_EVERY if operation.method == "get" else 1):
                ask(case)
        if not operation.body:
            # In an address all is text: a null that should be wrong is the word "null".
            modes.remove(GenerationMode.NEGATIVE)
        known = there.get(operation.path)
        some = [operation.as_strategy(mode, path_parameters=known) for mode in modes]
        HOW(given(st.one_of(some))(ask))()
    return seen


pytestmark = pytest.mark.usefixtures("_one_connection", "_no_limits", "_few_studies")


@pytest.mark.long
def test_whatever_is_asked_is_answered_as_described(there: dict[str, dict[str, Any]]) -> None:
    seen = answers(a_person("ada", "add_run", "change_run"), there, thorough=True)
    assert len(seen) == 21
    assert all(200 in statuses for label, statuses in seen.items() if label.startswith("GET"))
    assert seen["POST /api/v1/runs/"] >= {201, 400, 415}
    assert seen["POST /api/v1/runs/{id}/cancel/"] >= {202, 404, 409}
    assert seen["POST /api/v1/runs/{id}/annotation/"] >= {200, 400, 404}
    assert seen["POST /api/v1/sweeps/"] >= {201, 400}
    assert seen["POST /api/v1/sweeps/{id}/cancel/"] >= {202, 404, 409}


def test_nobody_reads_everything_and_writes_nothing(there: dict[str, dict[str, Any]]) -> None:
    seen = answers(None, there)
    assert len(seen) == 21
    for label, statuses in seen.items():
        assert 200 in statuses if label.startswith("GET") else statuses <= {401, 404, 405}, label
    assert_no_run_changed()


def test_who_may_not_start_runs_writes_nothing(there: dict[str, dict[str, Any]]) -> None:
    seen = answers(a_person("reader"), there, methods=["post"])
    assert len(seen) == 5
    assert all(statuses <= {401, 403, 404, 405} for statuses in seen.values())
    assert_no_run_changed()


def assert_no_run_changed() -> None:
    states = Run.objects.order_by("pk").values_list("state", "cancel_asked", "note", "tags")
    assert list(states) == [(state, None, "", []) for state in ("succeeded", "queued", "queued")]
    assert Sweep.objects.count() == 1
