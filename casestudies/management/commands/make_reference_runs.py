"""`make reference-runs`: run the quick preset of each study here, and keep the results."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from casestudies.lab.catalogue import STUDIES
from casestudies.studies import reference_runs


class Command(BaseCommand):
    help = "Run the quick preset of each study on this machine and write fixtures/runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("studies", nargs="*", help="default: all")

    def handle(self, *args: object, studies: list[str], **options: object) -> None:
        if unknown := set(studies) - set(STUDIES):
            raise CommandError(f"No such study: {', '.join(sorted(unknown))}")
        # Written at the end only: a changed file would make the next run's commit a changed one.
        records = {slug: reference_runs.make(slug) for slug in studies or STUDIES}
        for slug, record in records.items():
            self.stdout.write(reference_runs.keep(slug, record).name)
