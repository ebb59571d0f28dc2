"""A body larger than any that the site takes is refused by its length, or cut at the limit."""

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from reviewapp.server.web import LARGEST_BODY
from tests.database import url_of
from tests.edge.site import SECONDS, Site, served

pytestmark = pytest.mark.xdist_group("edge")

MIB = 2**20
HEAD = b"POST /prisma/import/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


def test_600_mebibytes_are_refused_before_any_is_sent(site: Site) -> None:
    answer = site.send(HEAD + b"Content-Length: %d\r\n\r\n" % (600 * MIB))
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_of_no_stated_length_is_cut_at_the_limit(site: Site) -> None:
    # Connections wait for a process that still begins, so ask once before its memory is looked at.
    assert site.send(HEAD.replace(b"POST", b"GET") + b"\r\n").startswith(b"HTTP/1.1 ")
    process = psutil.Process(site.process.pid)
    before, taken = process.memory_info().rss, 0
    with (
        socket.create_connection(("127.0.0.1", site.port), SECONDS) as connection,
        contextlib.suppress(ConnectionResetError, BrokenPipeError),
    ):
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        while taken < 600 * MIB:
            connection.sendall(b"10000\r\n" + bytes(2**16) + b"\r\n")
            taken += 2**16
    # What has been sent may wait on its way, in either machine's memory.
    assert taken < LARGEST_BODY + 32 * MIB
    assert process.memory_info().rss < before + 32 * MIB


def test_a_small_body_of_no_stated_length_is_read(site: Site) -> None:
    form = b"action=clear&csrfmiddlewaretoken=" + b"a" * 32
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(form), form)
    answer = site.send(
        b"POST /compare/tray/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nCookie: csrftoken="
        + b"a"
        * 32
        + b"\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + sent
    )
    assert answer.startswith(b"HTTP/1.1 302 ")


@pytest.fixture
def full(own_database: str) -> Iterator[Site]:
    """A site whose files may hardly grow, as on a full disk."""
    little, url = ["prlimit", "--fsize=100000"], url_of(own_database)
    with (
        tempfile.TemporaryDirectory(prefix="peak-atlas-edge-") as folder,
        served(url, Path(folder), under=little) as site,
    ):
        yield site


def test_who_sends_or_awaits_what_no_disk_has_room_for_is_not_left_waiting(full: Site) -> None:
    for _ in range(3):
        answer = full.send(HEAD + b"Content-Length: %d\r\n\r\n" % MIB + bytes(MIB))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 10" in answer
        assert b"no room for what was sent" in answer
        answer = full.send(b"GET /prisma/export.png?dpi=600 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"IEND" not in answer
    assert full.status("/healthz") == 200
    said = full.log.read_text()
    assert said.count("A request cannot be kept: [Errno 27] File too large") == 3
    assert said.count("An answer cannot be kept: [Errno 27] File too large") == 3
    assert "Traceback" not in said
