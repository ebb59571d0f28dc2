"""How often each visitor has done what may be done only so often: one row for both."""

from typing import Self

from django.db import models
from django.db.models.functions import Now


class CountQuerySet(models.QuerySet["Count"]):
    def over(self) -> Self:
        """Return the counts whose time is over: they say nothing any more."""
        return self.filter(ends__lte=Now())


class Count(models.Model):
    """How often `who` has done `what` until `ends`; after that it begins again from one.

    `who` is a digest, so that nobody's address or mistyped name is kept.
    """

    what = models.CharField(max_length=100)
    who = models.CharField(max_length=64)
    n = models.PositiveIntegerField()
    ends = models.DateTimeField(db_index=True)

    objects = CountQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["what", "who"], name="count_of_each")]

    def __str__(self) -> str:
        return f"{self.what}: {self.n}"
