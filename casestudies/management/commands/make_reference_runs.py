"""`make reference-runs`: run presets of each study here, and keep the results."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from casestudies.lab import records
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import CLAIMS, PRESETS, QUICK
from casestudies.studies import reference_runs


class Command(BaseCommand):
    help = "Run the presets quick and claims of each study on this machine; write fixtures/runs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("studies", nargs="*", help="default: all")
        parser.add_argument("--presets", nargs="*", choices=PRESETS, default=[QUICK, CLAIMS])

    def handle(
        self, *args: object, studies: list[str], presets: list[str], **options: object
    ) -> None:
        if unknown := set(studies) - set(STUDIES):
            raise CommandError(f"No such study: {', '.join(sorted(unknown))}")
        # Written at the end only: a changed file would make the next run's commit a changed one.
        records = [
            (slug, records.make(slug, preset))
            for slug in studies or STUDIES
            for preset in presets
            if preset in STUDIES[slug].presets
        ]
        for slug, record in records:
            self.stdout.write(reference_runs.keep(slug, record).name)
