"""`make reference-runs`: run presets of each study here, and keep the results."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from casestudies.lab import records
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import CLAIMS, PRESETS, QUICK
from casestudies.lab.machine import gpus
from casestudies.studies import reference_runs


class Command(BaseCommand):
    help = (
        "Run the presets quick and claims of each study on this machine; write fixtures/runs."
        " What was measured at this commit before is left as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("studies", nargs="*", help="default: all")
        parser.add_argument("--presets", nargs="*", choices=PRESETS, default=[QUICK, CLAIMS])

    def handle(
        self, *args: object, studies: list[str], presets: list[str], **options: object
    ) -> None:
        from casestudies.lab.measure.environment import environment  # takes PyTorch with it

        if unknown := set(studies) - set(STUDIES):
            raise CommandError(f"No such study: {', '.join(sorted(unknown))}")
        here = environment("cuda" if gpus() else "cpu")
        for slug in studies or STUDIES:
            for preset in presets:
                if preset not in STUDIES[slug].presets:
                    continue
                if records.is_there(reference_runs.FOLDER, slug, preset, here):
                    self.stdout.write(f"{slug} {preset}: measured at this commit before")
                    continue
                kept = records.keep(reference_runs.FOLDER, slug, records.make(slug, preset))
                self.stdout.write(kept.name)
