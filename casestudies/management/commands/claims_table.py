"""`manage.py claims_table`: what the reference runs found, as the README quotes it."""

from django.core.management.base import BaseCommand

from casestudies.studies.claims_table import claims_table


class Command(BaseCommand):
    help = "Print what the reference runs of fixtures/runs found of the claims, in Markdown."

    def handle(self, *args: object, **options: object) -> None:
        self.stdout.write(claims_table())
