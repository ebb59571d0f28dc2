"""Processes that serve one listener share what is asked of them, however it reaches them."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from queue import Queue
from threading import Event, Thread

import pytest
from psutil import Process

from reviewapp.server import balance
from reviewapp.server.balance import ENOUGH, BalancedServer
from tests.edge.site import Site

SECONDS = 30.0


class Desk:
    """Servers of one listener, whose pages are only made when `finish` is set."""

    def __init__(self, servers: int) -> None:
        self.begun: Queue[int] = Queue()  # which server began to make a page
        self.finish = Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.servers = [self._server(number) for number in range(servers)]

    def _server(self, number: int) -> BalancedServer:
        def page(environ, start_response):
            self.begun.put(number)
            assert self.finish.wait(SECONDS)
            start_response("200 OK", [("Content-Length", "2")])
            return [b"ok"]

        return BalancedServer(page, self.listener.dup(), threads=2 * ENOUGH)

    def ask(self) -> http.client.HTTPConnection:
        """Ask for a page on a connection of its own, which is closed by the caller."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request("GET", "/")
        return connection


@contextmanager
def desk(servers: int) -> Iterator[Desk]:
    one = Desk(servers)
    threads = [Thread(target=server.run) for server in one.servers]
    for thread in threads:
        thread.start()
    try:
        yield one
    finally:
        one.finish.set()
        for server, thread in zip(one.servers, threads, strict=True):
            server.task_dispatcher.shutdown()
            server.trigger.pull_trigger(server.close)  # type: ignore[attr-defined]
            thread.join(SECONDS)
        one.listener.close()


def test_no_process_takes_more_than_its_share_while_another_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(balance, "SECONDS_THAT_COUNT", SECONDS)
    with desk(servers=2) as site, ExitStack() as open_connections:
        asked, by = [], []
        for _ in range(2 * ENOUGH):
            asked.append(open_connections.enter_context(closing(site.ask())))
            by.append(site.begun.get(timeout=SECONDS))
        assert sorted(by) == [0] * ENOUGH + [1] * ENOUGH
        site.finish.set()
        answers = [connection.getresponse() for connection in asked]
        assert [answer.read() for answer in answers] == [b"ok"] * len(asked)
        # Who keeps a connection would otherwise stay with a process that has enough to do.
        for number in (0, 1):
            assert any(a.will_close for a, who in zip(answers, by, strict=True) if who == number)


def test_a_connection_to_a_process_that_has_little_to_do_is_kept() -> None:
    with desk(servers=1) as site, closing(site.ask()) as connection:
        site.finish.set()
        for _ in range(ENOUGH):
            answer = connection.getresponse()
            assert answer.read() == b"ok"
            assert not answer.will_close
            connection.request("GET", "/")
        connection.getresponse().read()


def test_what_waits_for_something_else_keeps_no_other_visitor_out() -> None:
    with desk(servers=1) as site, ExitStack() as open_connections:
        for _ in range(2 * ENOUGH):  # as many as there are threads
            open_connections.enter_context(closing(site.ask()))
            assert site.begun.get(timeout=SECONDS) == 0


@pytest.mark.xdist_group("edge")
def test_a_site_that_nobody_asks_for_anything_rests(site: Site) -> None:
    assert site.status("/healthz") == 200
    assert Process(site.process.pid).cpu_percent(interval=1) < 10
