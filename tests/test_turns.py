"""Long files: so many are made at once, so many wait, and what nobody reads ends its turn."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory

from reviewapp.limits import pages
from reviewapp.limits.pages import in_turn
from reviewapp.limits.turns import Busy, Turns
from tests.waiting import wait_until


def test_so_many_work_so_many_wait_and_the_others_are_told_at_once() -> None:
    turns = Turns(running=1, waiting=1)

    def work() -> str:
        with turns.turn(seconds=60):
            return "done"

    with ThreadPoolExecutor(3) as others, turns.turn(seconds=0):
        asked = [others.submit(work) for _ in range(3)]
        wait_until(lambda: sum(one.done() for one in asked) == 2)
        [waits] = [one for one in asked if not one.done()]
        assert all(isinstance(one.exception(), Busy) for one in asked if one is not waits)
        assert not waits.done()
    assert waits.result() == "done"


@pytest.fixture
def one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """One long file at once, and nobody waits."""
    monkeypatch.setattr(pages, "long_files", Turns(running=1, waiting=0))


@in_turn
def long_file(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(["this", "and", "that"])


def test_a_file_that_is_being_sent_keeps_its_turn_until_its_end(
    client: Client, review: None, one_turn: None
) -> None:
    sending = iter(long_file(RequestFactory().get("/")))
    assert next(sending) == b"this"
    refused = client.get("/publications/export.json")
    assert refused.status_code == 503
    assert int(refused["Retry-After"]) > 0
    assert "Try again in" in refused.content.decode()
    assert list(sending) == [b"and", b"that"]
    assert client.get("/publications/export.json").status_code == 200


def test_a_view_that_fails_and_a_file_that_nobody_reads_end_their_turn(
    client: Client, review: None, one_turn: None
) -> None:
    @in_turn
    def failing(request: HttpRequest) -> HttpResponse:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        failing(RequestFactory().get("/"))
    long_file(RequestFactory().get("/"))
    assert client.get("/publications/export.csv").status_code == 200
