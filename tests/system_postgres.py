"""`make test-system-postgres`: the tests that use the database, on an installed PostgreSQL."""

import os
import subprocess
import sys
from pathlib import Path

from reviewapp.server.postgres import OLDEST_SUPPORTED
from tests.database import temporary_server

DEBIAN_FOLDER = Path("/usr/lib/postgresql")
# What any version may do in its own way: facts written, kept and counted, searched, locked, backed
# up; and the queries of every page.
OF_THE_DATABASE = (
    "casestudies/test_migrations.py",
    "casestudies/test_runner.py",
    "casestudies/test_sweeps.py",
    "casestudies/test_waking.py",
    "corpus/test_migrations.py",
    "deploy/test_backup.py",
    "taxonomy/test_loading.py",
    "taxonomy/test_publications.py",
    "taxonomy/test_search.py",
    "test_pages.py",
)


def main() -> None:
    """Run the tests on a new cluster of the newest installed PostgreSQL; exit as pytest does."""
    versions = sorted(int(folder.name) for folder in DEBIAN_FOLDER.glob("[0-9]*"))
    if not versions or versions[-1] < OLDEST_SUPPORTED:
        sys.exit(f"No PostgreSQL {OLDEST_SUPPORTED} or newer in {DEBIAN_FOLDER}")
    tests = [f"tests/{part}" for part in OF_THE_DATABASE]
    with temporary_server(DEBIAN_FOLDER / str(versions[-1]) / "bin") as url:
        command = [sys.executable, "-m", "pytest", *tests]
        environment = {**os.environ, "DATABASE_URL": url}
        status = subprocess.run(command, env=environment, check=False).returncode
    sys.exit(status)


if __name__ == "__main__":
    main()
