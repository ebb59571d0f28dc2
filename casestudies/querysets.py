"""The questions asked about runs, by name."""

from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import models
from django.db.models.functions import Now

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

# A worker speaks at least every second, and after a pause of this length is taken for dead.
SILENCE = timedelta(seconds=20)


class RunQuerySet(models.QuerySet["Run"]):  # type: ignore[name-defined]
    def queued(self) -> "RunQuerySet":
        """Return the runs that wait for a worker."""
        return self.filter(state="queued")

    def active(self) -> "RunQuerySet":
        """Return the runs that a worker is carrying out, those being cancelled included."""
        return self.filter(state__in=["running", "cancelling"])

    def unfinished(self) -> "RunQuerySet":
        """Return the runs that have not ended."""
        return self.filter(state__in=["queued", "running", "cancelling"])

    def succeeded(self) -> "RunQuerySet":
        """Return the runs that have a result, latest first."""
        return self.filter(state="succeeded").order_by("-finished", "-id")

    def of_study(self, slug: str) -> "RunQuerySet":
        """Return the runs of one study."""
        return self.filter(study=slug)

    def of(self, user: "AbstractBaseUser | AnonymousUser") -> "RunQuerySet":
        """Return the runs that the signed-in `user` started."""
        return self.filter(owner=user)

    def mark_lost(self) -> int:
        """Give up the active runs whose worker has been silent too long; return how many.

        Workers ask for this every few seconds, and so does every page that lists runs: where no
        worker is left, nobody else would notice. A lost run is never carried out again by itself.
        Should its worker still live, it takes the run back with its next sign of life, and nothing
        that it measured is lost.
        """
        # The database's clock: that of each machine may differ.
        return (
            self.active()
            .filter(heartbeat__lt=Now() - SILENCE)
            .update(
                state="lost",
                finished=Now(),
                error="Its worker has stopped answering: it was killed, or lost its machine or"
                " its connection. The run is not repeated by itself.",
            )
        )
