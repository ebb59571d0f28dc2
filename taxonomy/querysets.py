"""Named queries over claims."""

import re
from collections.abc import Iterable
from typing import Any, Self

from django.db import models
from django.db.models import Q

from reviewapp.corpus.choices import Membership
from taxonomy.choices import Status

NEWEST = ("-publication__year", "-publication__month", "publication__key", "position")
CODE = re.compile(r"(?P<key>[-\w]+)-(?P<position>0|[1-9]\d{0,3})", re.ASCII)


class ClaimQuerySet(models.QuerySet[Any]):
    def by_code(self, codes: Iterable[str]) -> Self:
        """Keep the claims with these codes, such as "frantar2023sparsegpt-0"; others find none."""
        wanted = Q(pk__in=[])
        for code in filter(None, map(CODE.fullmatch, codes)):
            wanted |= Q(publication__key=code["key"], position=code["position"])
        return self.filter(wanted)

    def counted(self) -> Self:
        """Keep the claims of the publications that the review counts: no extensions."""
        return self.exclude(publication__membership=Membership.EXTENSION)

    def effects_of(self, *strategies: int) -> Self:
        """Keep the claims that are attributed to any of the strategies with these ids.

        A strategy that is shown on a claim and counted nowhere does not count here either.
        """
        through = self.model._meta.get_field("attributions").related_model
        links = through._default_manager.filter(strategy__in=strategies, counted=True)
        return self.filter(pk__in=links.values("claim"))

    def tried(self, statuses: Iterable[str] = Status.values) -> Self:
        """Keep the claims of which some run here that counts has an outcome of these statuses.

        That a run said why it cannot speak to a claim ("not run") is an outcome too.
        """
        outcomes = {"outcomes__status__in": list(statuses), "outcomes__counts": True}
        return self.filter(pk__in=self.model._base_manager.filter(**outcomes).values("pk"))
