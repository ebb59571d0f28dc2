"""`manage.py restore FILE`: bring back what `manage.py backup` has kept."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand

from reviewapp.server import backups


class Command(BaseCommand):
    requires_system_checks: list[str] = []  # it works though the checkout is half updated
    help = "Fill the database from a backup, while the site and its workers are stopped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--replace", action="store_true", help="delete what the database holds now"
        )

    def handle(self, *args: object, file: Path, replace: bool, **options: object) -> None:
        backups.restore(file.absolute(), replace=replace)
        self.stdout.write("Restored; the next start of the site brings it up to date.")
