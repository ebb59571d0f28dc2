"""The API keeps its description, whatever it is asked."""

from collections.abc import Iterator
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
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from reviewapp.wsgi import application
from tests.casestudies.making import a_finished_run, a_person, a_run

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Always the same requests: a failure can be looked at, and one found by chance gets its own test.
HOW = settings(
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def _one_connection() -> Iterator[None]:
    """Let the site's requests see the test's transaction instead of closing its connection."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> User:
    """Somebody with runs who may start others, as fast and as many as a test likes."""
    for scope in SimpleRateThrottle.THROTTLE_RATES:
        monkeypatch.setitem(SimpleRateThrottle.THROTTLE_RATES, scope, None)
    person = a_person("ada", "add_run")
    a_finished_run(owner=person)
    a_run(owner=person)
    return person


def operations() -> Iterator[Any]:
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/", application)
    for operation in schema.get_all_operations():
        yield operation.ok()  # type: ignore[union-attr]


@pytest.mark.usefixtures("_one_connection", "review")
def test_whatever_is_asked_is_answered_as_described(runner: User) -> None:
    headers = {"Authorization": f"Token {Token.objects.create(user=runner).key}"}

    def ask(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    names = []
    for operation in operations():
        sensible_or_not = st.one_of(
            *(operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
        )
        HOW(given(sensible_or_not)(ask))()
        names.append(operation.label)
    assert len(names) == 13
