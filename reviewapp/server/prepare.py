"""What must be done before the site answers: schema, review, static files."""

import hashlib
import os
from io import StringIO
from pathlib import Path

import django
from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.management import call_command

from reviewapp.server.problems import in_one_line

# Of what the Plotly package holds, the pages use plotly.min.js only.
NOT_SERVED = ["datasets", "widgetbundle.js", "plotly/templates"]


def main() -> None:
    """Bring the database and the static files up to date; exit 1 with the reason on failure."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewapp.settings")
    with in_one_line():
        django.setup()
        _prepare()


def _prepare() -> None:
    from reviewapp.accounts import ensure_demo_account, first_account_hint
    from reviewapp.limits.models import Count

    call_command("migrate", verbosity=0)
    # A worker does these two each day, but there may be none.
    call_command("clearsessions")
    Count.objects.over().delete()
    call_command("load_review", settings.BASE_DIR / "fixtures", stdout=StringIO())
    call_command("load_reference_runs", stdout=StringIO())
    ensure_demo_account()
    if hint := first_account_hint():
        print(hint, flush=True)  # noqa: T201
    collect_static()


def collect_static() -> None:
    """Collect the static files into STATIC_ROOT, unless none has changed since the last time."""
    stamp = Path(settings.STATIC_ROOT) / ".fingerprint"
    fingerprint = _static_fingerprint()
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return
    call_command(
        "collectstatic", interactive=False, clear=True, verbosity=0, ignore_patterns=NOT_SERVED
    )
    stamp.write_text(fingerprint)


def _static_fingerprint() -> str:
    """Return a digest of every source file's path, size and time of change."""
    digest = hashlib.sha256()
    for finder in finders.get_finders():
        for path, storage in finder.list([]):
            status = os.stat(storage.path(path))
            digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
