"""The questions asked about runs and workers, by name."""

import logging
from datetime import timedelta
from typing import Self, TypeVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import DatabaseError, models, transaction
from django.db.models import Count, F, Func, Q
from django.db.models.functions import Now

from casestudies.choices import UNFINISHED, Device, State
from taxonomy.choices import Origin

log = logging.getLogger(__name__)

# A worker and each of its runs speak every few seconds; after a pause of this length they are
# taken for dead. Measured by the database's clock: that of each machine may differ.
SILENCE = timedelta(seconds=20)

ACCEPTED = Q(accepted__isnull=False, withdrawn=None)  # of a contribution
ORIGINS = {
    Origin.REFERENCE: Q(reference__isnull=False),
    Origin.HERE: Q(reference=None, contribution=None),
    Origin.CONTRIBUTED: Q(contribution__isnull=False),
}

# Whichever model has the queryset as its manager: models imports this file.
M_co = TypeVar("M_co", bound=models.Model, covariant=True)


class RunQuerySet(models.QuerySet[M_co]):
    def queued(self) -> Self:
        """Return the runs that wait for a worker."""
        return self.filter(state=State.QUEUED)

    def running(self) -> Self:
        """Return the runs that a worker is carrying out, those asked to stop included."""
        return self.filter(state=State.RUNNING)

    def unfinished(self) -> Self:
        """Return the runs that have not ended."""
        return self.filter(state__in=UNFINISHED)

    def succeeded(self) -> Self:
        """Return the runs that have a result, latest first."""
        return self.filter(state=State.SUCCEEDED).order_by("-finished", "-id")

    def of_study(self, slug: str) -> Self:
        """Return the runs of one study."""
        return self.filter(study=slug)

    def from_origin(self, origin: str) -> Self:
        """Return the runs that were made there."""
        return self.filter(ORIGINS[Origin(origin)])

    def vouched_for(self) -> Self:
        """Return all runs but the contributed ones that nobody has accepted."""
        accepted = Q(contribution__accepted__isnull=False, contribution__withdrawn=None)
        return self.filter(Q(contribution=None) | accepted)

    def of(self, user: AbstractBaseUser | AnonymousUser) -> Self:
        """Return the runs that the signed-in `user` started."""
        return self.filter(owner=user)

    def tagged(self, tag: str) -> Self:
        """Return the runs that carry the tag, which is written as tags are kept."""
        return self.filter(tags__contains=[tag])

    def tag_counts(self) -> list[tuple[str, int]]:
        """Return each tag of the runs with how many carry it, the most common first."""
        tags = self.order_by().annotate(tag=Func(F("tags"), function="unnest"))
        counted = tags.values("tag").annotate(n=Count("pk")).order_by("-n", "tag")
        return list(counted.values_list("tag", "n"))

    def mark_lost(self) -> int:
        """Give up the running runs whose worker has been silent too long; return how many.

        Workers ask for this every few seconds, and so does every page that lists runs: where no
        worker is left, nobody else would notice. A lost run is never carried out again by itself.
        Should its worker still live, it takes the run back with its next sign of life, and nothing
        that it measured is lost.

        Where the database cannot be written, as on a full disk, this logs why and returns 0:
        whoever only reads must not fail.
        """
        silent = self.running().filter(heartbeat__lt=Now() - SILENCE)
        if not silent.exists():
            return 0
        try:
            with transaction.atomic():
                return silent.update(
                    state=State.LOST,
                    finished=Now(),
                    error="Its worker has stopped answering: it was killed, or lost its machine or"
                    " its connection. The run is not repeated by itself.",
                )
        except DatabaseError as error:
            log.error("Silent runs could not be marked as lost: %s", str(error).partition("\n")[0])
            return 0


class SweepQuerySet(models.QuerySet[M_co]):
    def of_study(self, slug: str) -> Self:
        """Return the sweeps of one study."""
        return self.filter(study=slug)

    def with_progress(self) -> Self:
        """Return the sweeps with their owners, and how their runs stand, newest first.

        Each has `asked`, how many runs it has, and of these `unfinished` and `succeeded`.
        """
        counted = self.select_related("owner").annotate(
            asked=Count("runs"),
            unfinished=Count("runs", filter=Q(runs__state__in=UNFINISHED)),
            succeeded=Count("runs", filter=Q(runs__state=State.SUCCEEDED)),
        )
        return counted.order_by("-created", "-id")  # what is counted loses the model's own order


class ContributionQuerySet(models.QuerySet[M_co]):
    def with_people(self) -> Self:
        """Return the contributions with who had to do with them, and how many runs they have."""
        people = self.select_related("importer", "accepted_by", "withdrawn_by")
        return people.annotate(run_count=Count("runs")).order_by("-created", "-id")


class WorkerQuerySet(models.QuerySet[M_co]):
    def alive(self) -> Self:
        """Return the workers that have lately given a sign of life, the longest serving first."""
        return self.filter(heartbeat__gte=Now() - SILENCE).order_by("started", "pk")

    def silent(self) -> Self:
        """Return the workers that were killed, or have lost the database."""
        return self.filter(heartbeat__lt=Now() - SILENCE)

    def serving(self, device: Device) -> Self:
        """Return the workers that carry out runs on `device`."""
        return self.filter(devices__contains=[device])
