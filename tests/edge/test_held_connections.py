"""Clients that hold a connection and say or read nothing more: others do not notice."""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.database import url_of
from tests.edge.site import Site, served
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("edge")

SECONDS_OF_SILENCE = 4

HEAD = b" HTTP/1.1\r\nHost: localhost\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\nCookie: csrftoken=" + b"a" * 32
HELD = {
    "nothing": b"",
    "headers": b"GET /" + HEAD + b"X: ",
    "a form": b"POST /prisma/import/" + HEAD + FORM + b"\r\nContent-Length: 900\r\n\r\na=",
    "a body in chunks": b"POST /compare/tray/"
    + HEAD
    + FORM
    + b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=1\r\n",
    "a file that is not read": b"GET /static/plotly/plotly.min.js" + HEAD + b"\r\n",
    "an export that is not read": b"GET /publications/export.json" + HEAD + b"\r\n",
}


@contextmanager
def held(site: Site, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    """Open so many connections, say this on each, and read nothing."""
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            # Almost nothing of an answer fits in here.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.connect(("127.0.0.1", site.port))
            connection.sendall(said)
            connections.append(connection)
        yield connections


@pytest.mark.parametrize("what", HELD)
def test_two_hundred_held_connections_leave_the_pages_answering(site: Site, what: str) -> None:
    with held(site, 200, HELD[what]):
        for address in ("/healthz", "/publications/"):
            assert site.get(address).status == 200


@pytest.fixture(scope="module")
def small(own_database: str) -> Iterator[Site]:
    """A site that may open few files, and whose clients may not be silent for long."""
    few, url = ["prlimit", "--nofile=1024"], url_of(own_database)
    with (
        tempfile.TemporaryDirectory(prefix="peak-atlas-edge-") as folder,
        served(url, Path(folder), under=few, silence=SECONDS_OF_SILENCE) as site,
    ):
        yield site


def answers(site: Site) -> bool:
    try:
        return site.status("/prisma/export.png?dpi=72") == 200
    except OSError:
        return False


def test_more_clients_than_open_files_wait_and_break_nothing(small: Site) -> None:
    # Each holds a socket and the file that it does not read.
    with held(small, 600, HELD["a file that is not read"]):
        wait_until(lambda: answers(small))
        assert "Too many open files" not in small.log.read_text()


def test_a_silent_client_is_disconnected(small: Site) -> None:
    with held(small, 1, HELD["a form"]) as [connection]:
        connection.settimeout(10 * SECONDS_OF_SILENCE)
        assert connection.recv(1) == b""
