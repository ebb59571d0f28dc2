"""The live view of a run: misses nothing and repeats nothing."""

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


def news(run: Run, client: Client, after: int = 0) -> dict[str, Any]:
    """Return what the page is told that has seen the events up to `after`."""
    told: dict[str, Any] = client.get(f"/runs/{run.pk}/news.json?after={after}").json()
    return told


def test_each_answer_goes_on_after_the_one_before(client: Client) -> None:
    run = going_on()
    say(run, "log", text="first")
    second = say(run, "log", text="second")
    told = news(run, client)
    assert told["last"] == second.pk
    assert told["lines"].index("first") < told["lines"].index("second")

    third = say(run, "log", text="third")
    told = news(run, client, after=second.pk)
    assert told["last"] == third.pk
    assert "third" in told["lines"]
    assert "second" not in told["lines"]

    told = news(run, client, after=third.pk)
    assert told["last"] == third.pk
    assert told["lines"].strip() == ""


def test_a_page_and_its_news_together_show_every_line_once(client: Client) -> None:
    run = going_on()
    said = [say(run, "log", text=f"line {n};") for n in range(3)]
    page = client.get(run.get_absolute_url()).content.decode()
    assert f'data-last="{said[-1].pk}"' in page
    say(run, "log", text="line 3;")
    told = news(run, client, after=said[-1].pk)["lines"]
    assert [(page + told).count(f"line {n};") for n in range(4)] == [1, 1, 1, 1]
    assert page.index("line 0;") < page.index("line 1;") < page.index("line 2;")


def test_more_than_one_answer_holds_comes_with_the_next(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVENTS_AT_ONCE", 2)
    run = going_on()
    said = [say(run, "log", text=f"line {n}") for n in range(3)]
    first = news(run, client)
    assert first["last"] == said[1].pk
    rest = news(run, client, after=first["last"])
    assert "line 2" in rest["lines"]


def test_only_what_has_changed_is_sent(client: Client) -> None:
    run = going_on(stage="wanda", step="block 1 of 30", done=0.25)
    parts = news(run, client)["parts"]
    assert set(parts) == {"status"}
    assert "25 %" in parts["status"]
    say(run, "started", environment={"processor": "Example Processor"})
    say(run, "progress", done=0.2, stage="wanda", step="block 1 of 30")
    say(
        run, "measurement", metric="sparsity", variant="wanda", value=0.5, unit="fraction", n=1,
        spread=None,
    )  # fmt: skip
    say(run, "point", series="perplexity by sparsity", variant="wanda", x=0.5, y=25.2)
    parts = news(run, client)["parts"]
    assert set(parts) == {"status", "facts", "environment", "stages", "measured", "charts"}
    assert "<span>wanda</span>" in parts["stages"]
    assert "fraction" in parts["measured"]
    assert "25.2" in parts["charts"]


def test_no_cache_on_the_way_keeps_what_was_new(client: Client) -> None:
    response = client.get(f"/runs/{going_on().pk}/news.json")
    assert "no-store" in response["Cache-Control"]


def test_who_watches_learns_that_the_run_is_over_or_gone(client: Client) -> None:
    run = a_finished_run()
    assert news(run, client)["over"] is True
    address = f"/runs/{run.pk}/news.json"
    run.delete()
    assert client.get(address).status_code == 404


def test_who_watches_learns_that_the_worker_is_dead(client: Client) -> None:
    run = going_on()
    Run.objects.update(heartbeat=timezone.now() - timedelta(seconds=30))
    assert news(run, client)["over"] is True
    run.refresh_from_db()
    assert run.state == State.LOST


def test_hostile_words_do_not_reach_the_page_as_html(client: Client) -> None:
    run = going_on(step=HOSTILE)
    say(run, "log", text=HOSTILE)
    say(run, "progress", done=0.1, step=HOSTILE)
    say(run, "point", series="perplexity by sparsity", variant=HOSTILE, x=0.5, y=1.0)
    told = news(run, client)
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


def test_a_look_costs_as_many_queries_however_much_was_said(client: Client) -> None:
    run = going_on()
    address = f"/runs/{run.pk}/news.json"
    say(run, "progress", done=0.1, step="a: 1")
    few = count_queries(client, address)
    for n in range(20):
        say(run, "progress", done=0.1, step=f"{n}: 1")
    assert count_queries(client, address) == few <= 4
