"""The database in one file, and back: pg_dump and pg_restore, all or nothing.

A password reaches these programs through their environment, which no other user of the machine
can read. Every problem is a CommandError: one line for the person at the terminal.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from django.core.management import CommandError
from django.db import connection

from reviewapp.server import postgres

LONGEST_REASON = 500
SECONDS_TO_LEAVE = 3
OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
"""
CLEAR = b"SET client_min_messages = warning; BEGIN; DROP SCHEMA IF EXISTS public CASCADE;\n"


def write(path: Path) -> None:
    """Write what the database holds at this moment to the new file `path`; open sessions stay out.

    The file appears under its name when it is whole, and for its owner only. Raises CommandError.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    what = ["--schema=public", "--exclude-table-data=django_session", "-f", unfinished]
    command, environment = _connected("pg_dump", "--format=custom", *what)
    try:
        if path.exists():
            raise CommandError(f"{path} exists already: name another file")
        if not connection.introspection.table_names():
            raise CommandError("The database is empty: are DATA_DIR and DATABASE_URL the site's?")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600, exist_ok=False)
        try:
            _output(command, environment)
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from None


def restore(path: Path, *, replace: bool) -> None:
    """Fill the database with what `write` has put into `path`.

    Refuses a database to which others are connected, and without `replace` one that holds
    something. Raises CommandError, and then the database is what it was.
    """
    reading = [programs() / "pg_restore", "--no-owner", "--no-privileges"]
    if " casestudies_run " not in _output([*reading, "--list", path]):
        raise CommandError(f"{path} is no backup of Peak Atlas")
    _wait_for_others()
    if connection.introspection.table_names() and not replace:
        raise CommandError("The database is not empty: --replace deletes what it holds")
    _do_all_or_nothing([*reading, "-f", "-", path])


def programs() -> Path:
    """Return the folder of pg_dump, pg_restore and psql of the server's own version.

    An older pg_dump refuses a newer server, and what a newer one writes an older server may not
    understand. Raises CommandError when there are none of that version, or no server answers.
    """
    try:
        postgres.check_version(os.environ["DATABASE_URL"])
    except postgres.StartProblem as problem:
        raise CommandError(str(problem)) from None
    version, *_ = connection.get_database_version()
    for folder in _folders(version):
        found = re.search(r"\d+", _output([folder / "pg_dump", "--version"]))
        if found and int(found[0]) == version:
            return folder
    needed = f"pg_dump of PostgreSQL {version}, as the server is"
    raise CommandError(f"{needed}, is not here: install postgresql-client-{version}")


def _wait_for_others() -> None:
    """Return when nobody else is connected; a process that has just ended still is for a moment."""
    deadline = time.monotonic() + SECONDS_TO_LEAVE
    while others := _others():
        if time.monotonic() > deadline:
            who = "stop the site, all workers and whatever else uses it"
            raise CommandError(f"The database has other connections, {others}: {who}")
        time.sleep(0.1)


def _others() -> int:
    with connection.cursor() as cursor:
        cursor.execute(OTHERS)
        ((others,),) = cursor.fetchall()
    return int(others)


def _do_all_or_nothing(printing: list[Any]) -> None:
    """Replace what the database holds, by the SQL that the command `printing` prints.

    It is one transaction, whose last word comes when all has been said: whatever fails or is
    killed before, the database forgets it.
    """
    psql, environment = _connected("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
    with tempfile.TemporaryFile("w+") as said:
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": said}
        # A session that fails ends, and its reader with it; what it said is the reason.
        with (
            suppress(BrokenPipeError),
            subprocess.Popen(printing, stdout=subprocess.PIPE, stderr=said) as source,
            subprocess.Popen(psql, env=environment, stdin=subprocess.PIPE, **quiet) as session,
        ):
            script, said_to = cast(IO[bytes], source.stdout), cast(IO[bytes], session.stdin)
            said_to.write(CLEAR)
            shutil.copyfileobj(script, said_to)
            if source.wait() == 0:
                said_to.write(b"COMMIT;\n")
        if status := source.returncode or session.returncode:
            said.seek(0)
            raise CommandError(_reason(said.read(), status))


def _connected(program: str, *options: Any) -> tuple[list[Any], dict[str, str]]:
    """Return the command that runs the program on the site's database, and its environment."""
    client = connection.client
    options = ("--no-password", *options)
    (_, *arguments), secrets = client.settings_to_cmd_args_env(connection.settings_dict, options)
    return [programs() / program, *arguments], {**os.environ, **(secrets or {})}


def _folders(version: int) -> Iterator[Path]:
    """Yield where the programs may be. Those of the wheel come last: they know no encryption."""
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).parent
    debian = Path(f"/usr/lib/postgresql/{version}/bin")
    if (debian / "pg_dump").exists():
        yield debian
    yield postgres.wheel_binaries()


def _output(command: list[Any], environment: dict[str, str] | None = None) -> str:
    """Return what the command prints; raise CommandError with its reason when it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(_reason(done.stderr, done.returncode))
    return done.stdout


def _reason(said: str, status: int) -> str:
    """Return why a program failed in one line; one that is killed says nothing itself."""
    return " ".join(said.split())[:LONGEST_REASON] or f"PostgreSQL's program ended with {status}"
