"""`make reference-runs`: run presets of each study here, and keep the results."""

import subprocess
from argparse import ArgumentParser
from collections.abc import Mapping

from django.core.management.base import BaseCommand, CommandError

from casestudies.lab import records
from casestudies.lab.batch import reason_to_skip
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import CLAIMS, PRESETS, QUICK, Study
from casestudies.lab.result import Environment
from casestudies.studies import reference_runs


class Command(BaseCommand):
    help = (
        "Run the presets quick and claims of each study on this machine; write fixtures/runs."
        " What was measured at this commit before is left as it is, what this machine cannot carry"
        " out is skipped, and one that fails ends no other."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("studies", nargs="*", help="default: all")
        parser.add_argument("--presets", nargs="*", choices=PRESETS, default=[QUICK, CLAIMS])

    def handle(
        self, *args: object, studies: list[str], presets: list[str], **options: object
    ) -> None:
        from casestudies.lab.measure.environment import environments  # takes PyTorch with it

        if unknown := set(studies) - set(STUDIES):
            raise CommandError(f"No such study: {', '.join(sorted(unknown))}")
        here, failed = environments(), []
        for study in (STUDIES[slug] for slug in studies or STUDIES):
            for preset in (name for name in presets if name in study.presets):
                try:
                    self.stdout.write(_made(study, preset, here))
                except subprocess.CalledProcessError as error:
                    failed.append(f"{study.slug} {preset}")
                    self.stdout.write(f"{failed[-1]}: failed: {records.last_words(error)}")
        if failed:
            raise CommandError(f"{len(failed)} failed: {', '.join(failed)}")


def _made(study: Study, preset: str, here: Mapping[str, Environment]) -> str:
    """Make and keep a run, unless it is there or cannot be; return what to say of it.

    Raises CalledProcessError when the run fails.
    """
    device = next((device for device in here if device in study.devices), "")
    if reason := reason_to_skip(study, preset, device):
        return f"{study.slug} {preset}: {reason}"
    if records.is_there(reference_runs.FOLDER, study.slug, preset, here[device]):
        return f"{study.slug} {preset}: measured at this commit before"
    record = records.make(study.slug, preset, ["--device", device])
    return records.keep(reference_runs.FOLDER, study.slug, record).name
