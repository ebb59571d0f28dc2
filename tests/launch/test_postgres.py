"""The embedded PostgreSQL, by itself."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from reviewapp.server.postgres import EmbeddedServer, wheel_binaries


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nobody but its owner may enter, as temporary folders and homes are."""
    with tempfile.TemporaryDirectory(prefix="peak-atlas-server-") as folder:
        yield Path(folder)


def test_the_server_stops_with_its_last_user(folder: Path) -> None:
    first, second = (EmbeddedServer(folder / "postgres", wheel_binaries()) for _ in range(2))
    first.start()
    second.start()
    first.leave()
    with psycopg.connect(second.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    second.leave()
    assert not second.running()


def test_what_a_killed_server_left_behind_does_not_stop_the_next_start(folder: Path) -> None:
    server = EmbeddedServer(folder / "postgres", wheel_binaries())
    server.start()
    server.leave()
    # Half written, or naming a process that somebody else has by now.
    for damage in ("", "1\n", "4294967296\nnonsense"):
        (server.data / "postmaster.pid").write_text(damage)
        (server.folder / ".s.PGSQL.5432.lock").write_text(damage)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        server.leave()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's PostgreSQL runs as another user")
def test_root_keeps_its_folders_closed_to_all_but_postgresql(folder: Path) -> None:
    server = EmbeddedServer(folder / "a" / "postgres", wheel_binaries())
    server.folder.parent.mkdir(mode=0o750)
    server.start()
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.leave()
    assert [path.stat().st_mode & 0o007 for path in (folder, server.folder.parent)] == [0, 0]
