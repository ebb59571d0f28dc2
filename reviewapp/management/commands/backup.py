"""`manage.py backup FILE`: keep what the database holds."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand

from reviewapp.server import backups


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # it works though the checkout is half updated
    help = "Write the database to a new file; the site may go on meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: object, file: Path, **options: object) -> None:
        backups.write(file.absolute())
        self.stdout.write(f"{file}: {file.stat().st_size:,} bytes")
