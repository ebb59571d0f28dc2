"""`manage.py worker --queues cpu,gpu`: carry out the runs that wait until told to stop."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from casestudies.choices import Device
from casestudies.lab.machine import gpus
from casestudies.worker import loop

QUEUES = {"cpu": Device.CPU, "gpu": Device.CUDA}


class Command(BaseCommand):
    help = "Carry out the runs that wait until told to stop (SIGTERM or Ctrl-C)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queues",
            help="Comma-separated: cpu, gpu (default: cpu, and gpu where there is one).",
        )

    def handle(self, *args: object, queues: str | None, **options: object) -> None:
        has_gpu = bool(gpus())
        chosen = queues.split(",") if queues else [q for q in QUEUES if q != "gpu" or has_gpu]
        for name in chosen:
            if name not in QUEUES:
                raise CommandError(f"--queues: {name!r} is none of {', '.join(QUEUES)}")
        if "gpu" in chosen and not has_gpu:
            raise CommandError("--queues: no gpu here; nvidia-smi names no graphics processor")
        loop.serve([QUEUES[name] for name in chosen])
