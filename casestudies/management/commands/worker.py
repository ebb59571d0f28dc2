"""`manage.py worker --queues cpu,gpu`: carry out queued jobs and runs until told to stop."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from casestudies.worker import jobs, leases


class Command(BaseCommand):
    help = "Carry out queued jobs and runs until told to stop (SIGTERM or Ctrl-C)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queues",
            help="Comma-separated: cpu, gpu (default: cpu, and gpu where there is one).",
        )

    def handle(self, *args: object, queues: str | None, **options: object) -> None:
        has_gpu = bool(leases.gpus())
        known = list(jobs.QUEUES.values())
        chosen = queues.split(",") if queues else [q for q in known if q != "gpu" or has_gpu]
        for name in chosen:
            if name not in known:
                raise CommandError(f"--queues: {name!r} is none of {', '.join(known)}")
        if "gpu" in chosen and not has_gpu:
            raise CommandError("--queues: no gpu here; nvidia-smi names no graphics processor")
        jobs.run_worker(chosen)
