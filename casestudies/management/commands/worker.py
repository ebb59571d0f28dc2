"""`manage.py worker --queues cpu,gpu`: work on queued jobs until told to stop."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand

from casestudies import jobs


class Command(BaseCommand):
    help = "Work on queued jobs until told to stop (SIGTERM or Ctrl-C)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queues",
            type=lambda names: names.split(","),
            default=["cpu"],
            help="Comma-separated queues to work on (default: cpu).",
        )

    def handle(self, *args: object, queues: list[str], **options: object) -> None:
        jobs.run_worker(queues)
