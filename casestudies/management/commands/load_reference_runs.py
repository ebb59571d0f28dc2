"""`manage.py load_reference_runs`: bring the results that ship with the project up to date."""

from django.core.management.base import BaseCommand, CommandError

from casestudies.studies import reference_runs, results


class Command(BaseCommand):
    help = (
        "Load the reference runs of fixtures/runs, and judge the runs made here by the rules that"
        " are new to them."
    )

    def handle(self, *args: object, **options: object) -> None:
        try:
            count = reference_runs.load()
        except reference_runs.InvalidRun as error:
            raise CommandError(f"{error}\nNothing was loaded.") from None
        results.judge_by_new_rules()
        self.stdout.write(f"{count} reference runs")
