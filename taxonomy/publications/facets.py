"""The facets of the list of publications. To add one is to add it here, and nothing else.

The form, the filter, the panel and the API follow this list, and so does the database:
`make run` and `migrate` bring what it keeps for the counts up to date (facet_values.py).
"""

from django.db.models import BooleanField, ExpressionWrapper, Q, TextChoices

from reviewapp.corpus.choices import COUNTED, ArtifactKind, Confidence, Membership, VenueKind
from reviewapp.corpus.models import Publication
from taxonomy.choices import Objective
from taxonomy.models import Claim, Evidence, Family, Strategy, TaxonomyClass
from taxonomy.publications.kinds import Choice, Facet, ListFacet, Switch, YearFacet

CODE = (
    Choice("yes", "With code", "with code", stored=True),
    Choice("no", "No code known", "no code known", stored=False),
)
HAS_CODE = ExpressionWrapper(~Q(code_url=""), output_field=BooleanField())
IS_COUNTED = ExpressionWrapper(Q(membership__in=COUNTED), output_field=BooleanField())


def _classes() -> tuple[Choice, ...]:
    rows = TaxonomyClass.objects.values_list("slug", "name", "pk")
    return tuple(Choice(slug, name, name, pk) for slug, name, pk in rows)


def _families() -> tuple[Choice, ...]:
    rows = Family.objects.values_list("slug", "name", "pk")
    return tuple(Choice(slug, name, name, pk) for slug, name, pk in rows)


def _strategies() -> tuple[Choice, ...]:
    rows = Strategy.objects.values_list("slug", "name", "pk", "group__family__name")
    return tuple(Choice(slug, name, name, pk, family) for slug, name, pk, family in rows)


def _listed(kinds: type[TextChoices], phrase: str = "{}") -> tuple[Choice, ...]:
    return tuple(
        Choice(kind.value, str(kind.label), phrase.format(str(kind.label).lower()), kind.value)
        for kind in kinds
    )


# In the order of the page.
FACETS: tuple[Facet, ...] = (
    ListFacet("class", "Class", TaxonomyClass.publications.through, "taxonomyclass", _classes),
    ListFacet("family", "Family", Evidence, "strategy__group__family", _families),
    ListFacet("strategy", "Strategy", Evidence, "strategy", _strategies),
    ListFacet(
        "objective", "Claims about", Claim, "objective", lambda: _listed(Objective, "{} claims")
    ),
    YearFacet("year", "Year of first version", Publication, "year"),
    ListFacet("venue", "Venue", Publication, "venue_kind", lambda: _listed(VenueKind)),
    ListFacet("artifact", "Artifact", Publication, "artifact_kind", lambda: _listed(ArtifactKind)),
    ListFacet("code", "Code", Publication, HAS_CODE, lambda: CODE),
    ListFacet("membership", "Membership", Publication, "membership", lambda: _listed(Membership)),
    ListFacet(
        "confidence",
        "Confidence",
        Publication,
        "confidence",
        lambda: _listed(Confidence, "{} confidence"),
    ),
    Switch(
        "counted",
        "Counted in the review only",
        Publication,
        IS_COUNTED,
        phrase="without extensions",
        help_text="Only those that are counted in the review, without extensions",
    ),
)


def read_facets() -> list[Facet]:
    """Return every facet in the order of the page, with all its choices."""
    return [facet.read() for facet in FACETS]
