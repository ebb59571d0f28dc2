"""The fixed words of the case studies: where a run stands, what it runs on, what it says."""

from django.db import models


class State(models.TextChoices):
    """Where a run stands. The first two may still change, the others are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    LOST = "lost"


UNFINISHED = [State.QUEUED, State.RUNNING]


class Device(models.TextChoices):
    """What kind of processor a run computes on."""

    CPU = "cpu", "CPU"
    CUDA = "cuda", "GPU (CUDA)"


class EventKind(models.TextChoices):
    """What a run's process says, and what its worker remarks."""

    STARTED = "started"
    PROGRESS = "progress"
    LOG = "log"
    ERROR_OUTPUT = "error output"
    MEASUREMENT = "measurement"
    POINT = "point"
    NOTICE = "notice", "notice of the worker"
