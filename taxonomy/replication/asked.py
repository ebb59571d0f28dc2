"""Which claims the address of the replication page asks for, and their order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.urls import reverse

from reviewapp.corpus.choices import Membership
from reviewapp.ui.errors import cleaned_or_400
from taxonomy.choices import Replicability
from taxonomy.claims.reading import with_facts
from taxonomy.measured import study_titles
from taxonomy.models import Attribution, Claim, SecondReading
from taxonomy.replication.outcomes import Ledger, Result
from taxonomy.replication.tally import ON_A_CPU, Replication

CPU = "cpu"
BATCH = 1000


class ClaimsForm(forms.Form):
    """What the address may ask for; what is not chosen lets every claim pass."""

    testable = forms.ChoiceField(required=False, label="Testability")
    outcome = forms.ChoiceField(required=False, label="Outcome")
    strategy = forms.ChoiceField(required=False, label="Strategy")
    study = forms.ChoiceField(required=False, label="Study")
    differ = forms.ChoiceField(
        required=False, label="Readings", choices=[("", "Any"), ("yes", "The two differ")]
    )
    counted = forms.ChoiceField(
        required=False, label="Extensions", choices=[("", "Shown"), ("yes", "Left out")]
    )

    def __init__(self, data: QueryDict, known: Replication) -> None:
        super().__init__(data)
        kinds = [(kind.value, kind.label) for kind in Replicability]
        fields: dict[str, Any] = self.fields
        fields["testable"].choices = [("", "Any"), (CPU, "a CPU could try it"), *kinds]
        fields["outcome"].choices = [("", "Any"), *((one.value, one.value) for one in Result)]
        strategies = [(tally.key, tally.label) for tally in known.by_strategy]
        fields["strategy"].choices = [("", "Any"), *strategies]
        titles = study_titles()
        studies = [(tally.key, titles.get(tally.key, tally.label)) for tally in known.by_study]
        fields["study"].choices = [("", "Any"), *studies]


@dataclass(frozen=True)
class Asked:
    """What was chosen, each by its key; empty where nothing was."""

    testable: str
    outcome: str
    strategy: str
    study: str
    differ: str
    counted: str

    @property
    def given(self) -> dict[str, str]:
        return {key: value for key, value in vars(self).items() if value}

    def claims(self, found: Ledger) -> QuerySet[Claim]:
        """Return the claims that pass, without an order."""
        conditions = []
        if self.testable:
            kinds = ON_A_CPU if self.testable == CPU else [self.testable]
            conditions.append(Q(testable__in=kinds))
        if self.outcome:
            conditions.append(found.condition(Result(self.outcome)))
        if self.strategy:
            links = Attribution.objects.filter(strategy__slug=self.strategy, counted=True)
            conditions.append(Q(pk__in=links.values("claim")))
        if self.study:
            conditions.append(Q(study=self.study))
        if self.differ:
            differing = SecondReading.objects.exclude(testable="")
            conditions.append(Q(pk__in=differing.values("claim")))
        if self.counted:
            conditions.append(~Q(publication__membership=Membership.EXTENSION))
        return Claim.objects.filter(*conditions).order_by()


def read_asked(data: QueryDict, known: Replication) -> tuple[Asked, ClaimsForm]:
    """Return what the address asks for, and its form; raise BadRequest for what cannot be."""
    form = ClaimsForm(data, known)
    return Asked(**cleaned_or_400(form)), form


def address(**given: str) -> str:
    """Return the address of the claims of which this is so."""
    return f"{reverse('replication')}?{urlencode(given)}#claims"


class Rows:
    """The claims that pass, those first of which something came; read where they are sliced."""

    def __init__(self, claims: QuerySet[Claim], found: Ledger) -> None:
        self.claims = claims
        passing = set(claims.filter(pk__in=found.order).values_list("pk", flat=True))
        self.first = [pk for pk in found.order if pk in passing]
        self.rest = claims.exclude(pk__in=self.first).order_by("publication_id", "position")

    def __getitem__(self, part: slice) -> list[Claim]:
        """Return the claims of the part, read with their facts."""
        start, stop = part.start or 0, part.stop
        wanted = self.first[start:stop]
        after = max(start - len(self.first), 0), max(stop - len(self.first), 0)
        if after[1]:
            wanted += self.rest.values_list("pk", flat=True)[slice(*after)]
        read = with_facts(Claim.objects.filter(pk__in=wanted))
        return sorted(read, key=lambda claim: wanted.index(claim.pk))

    def __iter__(self) -> Iterator[Claim]:
        """Yield every claim, a batch at a time."""
        read = with_facts(Claim.objects.filter(pk__in=self.first))
        yield from sorted(read, key=lambda claim: self.first.index(claim.pk))
        yield from with_facts(self.rest).iterator(chunk_size=BATCH)
