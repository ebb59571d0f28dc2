"""`manage.py load_review FOLDER`: load the review's fixtures."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from reviewapp.corpus.models import Publication
from taxonomy.loading import reading, writing
from taxonomy.loading.problems import FixtureError


class Command(BaseCommand):
    help = "Load a review from a folder of fixtures; loading it again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: object, folder: Path, **options: object) -> None:
        try:
            review = writing.load(reading.read(folder))
        except FixtureError as error:
            count = len(error.problems)
            raise CommandError(f"{error}\nNothing was loaded: {count} problem(s) above.") from None
        counted = Publication.objects.in_review().filter(review=review).count()
        total = Publication.objects.filter(review=review).count()
        self.stdout.write(
            f"Loaded {review.slug}: {total} publications, {counted} counted as the review's own."
        )
