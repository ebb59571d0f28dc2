"""`manage.py load_reference_runs`: bring the results that ship with the project up to date."""

from django.core.management.base import BaseCommand

from casestudies.studies import reference_runs


class Command(BaseCommand):
    help = "Load the reference runs of fixtures/runs; runs made here are not touched."

    def handle(self, *args: object, **options: object) -> None:
        self.stdout.write(f"{reference_runs.load()} reference runs")
