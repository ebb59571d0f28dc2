"""`manage.py worker --queues cpu,gpu`: carry out the runs that wait until told to stop."""

import math
from argparse import ArgumentParser
from contextlib import suppress

from django.core.management.base import BaseCommand, CommandError

from casestudies.choices import Device
from casestudies.lab.machine import gpus
from casestudies.models import Run
from casestudies.worker import loop
from casestudies.worker.reconnecting import Unavailable, database

QUEUES = {"cpu": Device.CPU, "gpu": Device.CUDA}


class Command(BaseCommand):
    help = "Carry out the runs that wait until told to stop (SIGTERM or Ctrl-C)."
    requires_system_checks: list[str] = []  # they read all pages, of which it serves none

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queues",
            help="Comma-separated: cpu, gpu (default: cpu, and gpu where there is one).",
        )
        parser.add_argument(
            "--leave-when-idle",
            metavar="SECONDS",
            type=float,
            default=math.inf,
            help="Leave when no run has waited for so long (default: never).",
        )

    def handle(
        self, *args: object, queues: str | None, leave_when_idle: float, **options: object
    ) -> None:
        has_gpu = bool(gpus())
        chosen = queues.split(",") if queues else [q for q in QUEUES if q != "gpu" or has_gpu]
        for name in chosen:
            if name not in QUEUES:
                raise CommandError(f"--queues: {name!r} is none of {', '.join(QUEUES)}")
        if "gpu" in chosen and not has_gpu:
            raise CommandError("--queues: no gpu here; nvidia-smi names no graphics processor")
        # One that does not answer yet may do so later; one that is not prepared is a mistake.
        with suppress(Unavailable), database():
            Run.objects.exists()
        loop.serve([QUEUES[name] for name in chosen], idle_seconds=leave_when_idle)
