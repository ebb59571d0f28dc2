"""The live view of a run: misses nothing, repeats nothing, and leaves room for other visitors."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from casestudies.choices import State
from casestudies.models import Run
from casestudies.runs import live
from tests.casestudies.making import a_finished_run
from tests.casestudies.test_run_pages import HOSTILE, going_on, say
from tests.queries import count_queries

pytestmark = pytest.mark.django_db
# A stream hands its connection back between two looks, and with it a test's own transaction.
streams = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stream end after its first look instead of waiting for more."""
    monkeypatch.setattr(live, "SECONDS_OF_A_STREAM", 0.0)


def messages(run: Run, client: Client, after: int = 0) -> Iterator[dict[str, str]]:
    """Yield the fields of each message that the browser would receive."""
    response = client.get(f"/runs/{run.pk}/stream", headers={"Last-Event-ID": str(after)})
    assert response["Content-Type"] == "text/event-stream"
    for block in response.getvalue().decode().removesuffix("\n\n").split("\n\n"):
        fields = [line.split(": ", 1) for line in block.split("\n")]
        assert len({name for name, _ in fields}) == len(fields)
        yield dict(fields)


@streams
def test_each_message_has_an_id_and_the_next_stream_goes_on_after_it(client: Client) -> None:
    run = going_on()
    say(run, "log", text="first")
    second = say(run, "log", text="second")
    retry, news = messages(run, client)
    assert retry == {"retry": "1000"}
    assert (news["event"], news["id"]) == ("news", str(second.pk))
    lines = json.loads(news["data"])["lines"]
    assert lines.index("first") < lines.index("second")

    third = say(run, "log", text="third")
    _, news = messages(run, client, after=second.pk)
    assert news["id"] == str(third.pk)
    lines = json.loads(news["data"])["lines"]
    assert "third" in lines
    assert "second" not in lines

    _, news = messages(run, client, after=third.pk)
    assert news["id"] == str(third.pk)
    assert json.loads(news["data"])["lines"].strip() == ""


def test_a_page_and_its_stream_together_show_every_line_once(client: Client) -> None:
    run = going_on()
    said = [say(run, "log", text=f"line {n};") for n in range(3)]
    page = client.get(run.get_absolute_url()).content.decode()
    assert f'data-last="{said[-1].pk}"' in page
    say(run, "log", text="line 3;")
    told = client.get(f"/runs/{run.pk}/news.json?after={said[-1].pk}").json()["lines"]
    assert [(page + told).count(f"line {n};") for n in range(4)] == [1, 1, 1, 1]


def test_more_than_one_message_holds_comes_with_the_next(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVENTS_AT_ONCE", 2)
    run = going_on()
    said = [say(run, "log", text=f"line {n}") for n in range(3)]
    first = client.get(f"/runs/{run.pk}/news.json?after=0").json()
    assert first["last"] == said[1].pk
    rest = client.get(f"/runs/{run.pk}/news.json?after={first['last']}").json()
    assert "line 2" in rest["lines"]


def test_only_what_has_changed_is_sent(client: Client) -> None:
    run = going_on(stage="wanda", step="block 1 of 30", done=0.25)
    news = client.get(f"/runs/{run.pk}/news.json").json()
    assert set(news["parts"]) == {"status"}
    assert "25 %" in news["parts"]["status"]
    say(run, "started", environment={"processor": "Example Processor"})
    say(run, "progress", done=0.2, stage="wanda", step="block 1 of 30")
    say(
        run, "measurement", metric="sparsity", variant="wanda", value=0.5, unit="fraction", n=1,
        spread=None,
    )  # fmt: skip
    say(run, "point", series="perplexity by sparsity", variant="wanda", x=0.5, y=25.2)
    parts = client.get(f"/runs/{run.pk}/news.json").json()["parts"]
    assert set(parts) == {"status", "facts", "environment", "stages", "measured", "charts"}
    assert "<span>wanda</span>" in parts["stages"]
    assert "fraction" in parts["measured"]
    assert "25.2" in parts["charts"]


@streams
def test_the_stream_ends_when_the_run_is_over_or_gone(client: Client) -> None:
    run = a_finished_run()
    *_, last = messages(run, client)
    assert last["event"] == "end"
    assert client.get(f"/runs/{run.pk}/news.json").json()["over"] is True


@streams
def test_who_watches_learns_that_the_worker_is_dead(client: Client) -> None:
    run = going_on()
    Run.objects.update(heartbeat=timezone.now() - timedelta(seconds=30))
    *_, last = messages(run, client)
    assert last["event"] == "end"
    run.refresh_from_db()
    assert run.state == State.LOST


@streams
def test_hostile_words_neither_end_the_message_nor_reach_the_page_as_html(client: Client) -> None:
    run = going_on(step=HOSTILE)
    say(run, "log", text=HOSTILE)
    say(run, "progress", done=0.1, step=HOSTILE)
    say(run, "point", series="perplexity by sparsity", variant=HOSTILE, x=0.5, y=1.0)
    _, news = messages(run, client)
    told = json.loads(news["data"])
    for html in (told["lines"], *told["parts"].values()):
        assert "<script>alert" not in html
        assert "<img src=x" not in html


@pytest.mark.parametrize("after", ["", "-1", "abc", "9" * 40, "%00", "²"])
def test_an_unreadable_id_tells_all_from_the_start(client: Client, after: str) -> None:
    run = going_on()
    say(run, "log", text="hello")
    response = client.get(f"/runs/{run.pk}/news.json?after={after}")
    assert response.status_code == 200
    assert "hello" in response.json()["lines"]


@streams
def test_streams_leave_threads_for_other_visitors(client: Client) -> None:
    run = going_on()
    address = f"/runs/{run.pk}/stream"
    held: list[Any] = [client.get(address) for _ in range(live.STREAMS_PER_PROCESS)]
    refused = client.get(address)
    assert refused.status_code == 503
    assert refused["Retry-After"]
    for response in held:
        # None was read: the browser left before the first message.
        response.close()
        response.close()
    again = client.get(address)
    assert again.status_code == 200
    assert b"event: news" in again.getvalue()


def test_a_look_costs_as_many_queries_however_much_was_said(client: Client) -> None:
    run = going_on()
    address = f"/runs/{run.pk}/news.json"
    say(run, "progress", done=0.1, step="a: 1")
    few = count_queries(client, address)
    for n in range(20):
        say(run, "progress", done=0.1, step=f"{n}: 1")
    assert count_queries(client, address) == few <= 4
