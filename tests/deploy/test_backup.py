"""The database in a file and back: a drill from a full site to one that works again."""

import http.cookiejar
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from psycopg import sql
from rest_framework.authtoken.models import Token

from casestudies.choices import EventKind, State
from casestudies.models import Run, RunEvent
from casestudies.permissions import let_start_runs
from reviewapp.corpus.models import Review
from reviewapp.server import backups
from tests.casestudies.making import a_finished_run, a_run
from tests.database import new_database, url_of, use_database
from tests.launch.test_launch import Launch, asked_run, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "a long enough phrase"
KEY = "0123456789abcdef0123456789abcdef01234567"
OLDER = ("casestudies", "0004_settings")
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
SEQUENCES = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'"
ROWS = "SELECT count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM {} t"


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest's own temporary paths are too long for a socket.
    with tempfile.TemporaryDirectory(prefix="peak-atlas-backup-") as name:
        yield Path(name)


@pytest.fixture
def ada() -> User:
    person = User.objects.create_user("ada", password=PASSWORD)
    let_start_runs(person)
    return person


@pytest.fixture
def filled(review: Review, ada: User) -> None:
    """A site that has been used, as it was one migration ago."""
    Client().login(username="ada", password=PASSWORD)
    Token.objects.create(user=ada, key=KEY)
    a_finished_run(owner=ada)
    for state in State.values:
        a_run(state=state, owner=ada, preset="smoke")
    run = Run.objects.running().get()
    RunEvent.objects.create(
        run=run, at=timezone.now(), kind=EventKind.LOG, data={"text": "Ünïcode"}
    )
    call_command("migrate", *OLDER, verbosity=0)


def own_url() -> str:
    return url_of(str(connection.settings_dict["NAME"]))


@pytest.fixture
def empty() -> Iterator[str]:
    """The name of a database that holds nothing."""
    with new_database(f"restored_{secrets.token_hex(4)}") as name:
        yield name


def manage(
    url: str, folder: Path, *arguments: str, limits: tuple[str, ...] = ()
) -> tuple[int, str]:
    """Return the exit status of `manage.py` and what it says."""
    done = subprocess.run(
        [*limits, sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": url, "DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def content(url: str) -> dict[str, Any]:
    """Return how many rows each table has and a digest of them, and where each sequence stands."""
    connection.close()  # only then may a restore know of nobody else
    with psycopg.connect(url) as database:
        tables = [name for (name,) in database.execute(TABLES)]
        rows = {
            name: database.execute(sql.SQL(ROWS).format(sql.Identifier(name))).fetchone()
            for name in tables
        }
        return rows | dict(database.execute(SEQUENCES).fetchall())


@pytest.mark.long
def test_a_lost_database_comes_back_from_its_backup(filled: None, folder: Path, empty: str) -> None:
    file = folder / "atlas.backup"
    before = content(own_url())
    # A backup waits for nobody, and what somebody has not finished is not in it.
    with psycopg.connect(own_url()) as somebody:
        somebody.execute("UPDATE casestudies_run SET stage = 'half done'")
        somebody.execute("DELETE FROM authtoken_token")
        assert manage(own_url(), folder, "backup", str(file))[0] == 0
        somebody.rollback()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [file.name]

    url = url_of(empty)
    assert manage(url, folder, "restore", str(file))[0] == 0
    after = content(url)
    assert before.pop("django_session")[0] == 1
    assert after.pop("django_session")[0] == 0
    assert before == after
    assert {name: after[name][0] for name in ("casestudies_run", "authtoken_token")} == {
        "casestudies_run": 1 + len(State.values),
        "authtoken_token": 1,
    }

    site = Launch(folder / "data", DATABASE_URL=url).until_ready()
    try:
        the_site_works(site.port, url)
    finally:
        site.end(signal.SIGINT)
    assert manage(url, folder, "migrate", "--check")[0] == 0


def the_site_works(port: int, url: str) -> None:
    """Assert that ada signs in, her token starts a run, and the runs of before say what is true."""
    site = f"http://127.0.0.1:{port}"
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    browser = urllib.request.build_opener(cookies)
    form = browser.open(f"{site}/sign-in/").read().decode()
    (token,) = re.findall('name="csrfmiddlewaretoken" value="([^"]+)"', form)
    fields = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": token}
    data = urllib.parse.urlencode(fields).encode()
    assert "Sign out" in browser.open(f"{site}/sign-in/", data).read().decode()

    assert asked_run(port, "paged-kv-cache", KEY)["state"] == "queued"

    with psycopg.connect(url, autocommit=True) as database:

        def states() -> list[str]:
            order = "SELECT state FROM casestudies_run WHERE reference IS NULL ORDER BY id"
            return [state for (state,) in database.execute(order)]

        # The one that waited is carried out; of the one that ran nobody knows the end.
        queued, running = 1 + State.values.index("queued"), 1 + State.values.index("running")
        wait_until(lambda: states()[queued] != "queued" and states()[running] == "lost")


def test_a_database_that_holds_something_is_kept_unless_asked(
    review: Review, ada: User, folder: Path
) -> None:
    file = folder / "atlas.backup"
    call_command("backup", file, verbosity=0)
    before = content(own_url())
    User.objects.create_user("grace")
    kept = content(own_url())
    with pytest.raises(CommandError, match="not empty: --replace deletes"):
        call_command("restore", file)
    assert content(own_url()) == kept != before
    call_command("restore", file, "--replace")
    assert content(own_url()) == before


def test_a_database_in_use_is_left_alone(review: Review, folder: Path) -> None:
    file = folder / "atlas.backup"
    call_command("backup", file)
    with (
        psycopg.connect(own_url()),
        pytest.raises(CommandError, match="other connections, 1: stop the site"),
    ):
        call_command("restore", file, "--replace")


def test_somebody_who_is_leaving_is_waited_for(review: Review, folder: Path) -> None:
    file = folder / "atlas.backup"
    call_command("backup", file)
    leaving = threading.Timer(0.5, psycopg.connect(own_url()).close)
    leaving.start()
    call_command("restore", file, "--replace")
    leaving.join()


@pytest.mark.parametrize("share", [0, 0.05, 0.99])
def test_a_backup_that_is_cut_short_changes_nothing(
    review: Review, folder: Path, share: float
) -> None:
    file = folder / "atlas.backup"
    call_command("backup", file)
    before = content(own_url())
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CommandError, match="pg_restore: error: ") as refused:
        call_command("restore", file, "--replace")
    assert "\n" not in str(refused.value)
    assert content(own_url()) == before


def test_a_restore_that_is_killed_changes_nothing(
    review: Review, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = folder / "atlas.backup"
    call_command("backup", file)
    before = content(own_url())
    real = backups.programs()
    for name in ("pg_dump", "psql"):
        (folder / name).symlink_to(real / name)
    # It lists all that it has, then is killed when it has come to the data.
    killed = f'{real}/pg_restore "$@" | sed "/^COPY/,\\$d"; [ "$3" = --list ] || kill -9 $$'
    (folder / "pg_restore").write_text(f"#!/bin/sh\n{killed}\n")
    (folder / "pg_restore").chmod(0o700)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    with pytest.raises(CommandError, match="PostgreSQL's program ended with -9"):
        call_command("restore", file, "--replace")
    assert content(own_url()) == before


def test_what_is_no_backup_of_the_site_is_refused(review: Review, folder: Path, empty: str) -> None:
    with pytest.raises(CommandError, match="pg_restore: error: could not open input file"):
        call_command("restore", folder / "none")
    (folder / "text").write_text("SELECT 1;\n" * 1000)
    with pytest.raises(CommandError, match="pg_restore: error: input file"):
        call_command("restore", folder / "text")
    with psycopg.connect(url_of(empty)) as another:
        another.execute("CREATE TABLE shopping (item text)")
    with use_database(empty):
        call_command("backup", folder / "shopping")
    with pytest.raises(CommandError, match="is no backup of Peak Atlas"):
        call_command("restore", folder / "shopping", "--replace")


def test_a_backup_is_whole_or_not_there(review: Review, folder: Path) -> None:
    file = folder / "atlas.backup"
    file.write_text("the one of yesterday")
    with pytest.raises(CommandError, match="exists already"):
        call_command("backup", file)
    assert file.read_text() == "the one of yesterday"

    room = ("prlimit", "--fsize=50000")
    new = folder / "full" / "atlas.backup"
    new.parent.mkdir()
    status, said = manage(own_url(), folder, "backup", str(new), limits=room)
    assert (status, said.count("\n")) == (1, 1), said
    assert not list(new.parent.iterdir())


def test_a_database_that_is_not_the_site_s_is_no_backup(folder: Path, empty: str) -> None:
    status, said = manage(url_of(empty), folder, "backup", str(folder / "atlas.backup"))
    assert (status, said.count("\n")) == (1, 1), said
    assert "The database is empty" in said
    status, said = manage("postgresql://127.0.0.1:1/none", folder, "backup", str(folder / "x"))
    assert (status, said.count("\n")) == (1, 1), said
    assert "DATABASE_URL cannot be used" in said
    assert not list(folder.iterdir())


def test_an_older_pg_dump_is_not_used(
    review: Review, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = folder / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n")
    old.chmod(0o700)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    call_command("backup", folder / "atlas.backup")
    assert (folder / "atlas.backup").stat().st_size > 50_000
