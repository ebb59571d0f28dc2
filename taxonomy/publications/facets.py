"""The facets of the list of publications. To add one is to add it here, and nothing else.

Those that speak of claims are in claim_facets.py.

The form, the filter, the panel and the API follow this list, and so does the database:
`make run` and `migrate` bring what it keeps for the counts up to date (facet_values.py).
"""

from functools import lru_cache

from django.db.models import BooleanField, ExpressionWrapper, Q

from reviewapp.corpus.choices import COUNTED, ArtifactKind, Confidence, Membership, VenueKind
from reviewapp.corpus.models import Publication
from taxonomy.models import Evidence, Family, Strategy, TaxonomyClass
from taxonomy.publications.claim_facets import CLAIM_FACETS
from taxonomy.publications.kinds import Choice, Facet, ListFacet, Switch, YearFacet, listed
from taxonomy.queries import revision

CODE = (
    Choice("yes", "With code", "with code", stored=True),
    Choice("no", "No code known", "no code known", stored=False),
)
RECORD = (
    Choice("sources", "From its sources", "recorded from its sources alone", stored=False),
    Choice(
        "general-knowledge",
        "Partly from general knowledge",
        "recorded partly from general knowledge",
        stored=True,
    ),
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


# In the order of the page.
FACETS: tuple[Facet, ...] = (
    ListFacet("class", "Class", TaxonomyClass.publications.through, "taxonomyclass", _classes),
    ListFacet("family", "Family", Evidence, "strategy__group__family", _families),
    ListFacet("strategy", "Strategy", Evidence, "strategy", _strategies),
    *CLAIM_FACETS,
    YearFacet("year", "Year of first version", Publication, "year"),
    ListFacet("venue", "Venue", Publication, "venue_kind", lambda: listed(VenueKind), folded=True),
    ListFacet(
        "artifact",
        "Artifact",
        Publication,
        "artifact_kind",
        lambda: listed(ArtifactKind),
        folded=True,
    ),
    ListFacet("code", "Code", Publication, HAS_CODE, lambda: CODE, folded=True),
    ListFacet(
        "membership",
        "Membership",
        Publication,
        "membership",
        lambda: listed(Membership),
        folded=True,
    ),
    ListFacet(
        "confidence",
        "Confidence",
        Publication,
        "confidence",
        lambda: listed(Confidence, "{} confidence"),
        folded=True,
    ),
    ListFacet(
        "record",
        "Record",
        Publication,
        "from_general_knowledge",
        lambda: RECORD,
        folded=True,
        help_text="Whether all of its fields come from the sources that it names",
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
    return list(facets_in(revision()))


@lru_cache(maxsize=2)
def facets_in(state: str) -> tuple[Facet, ...]:
    """Return the facets, remembered while `revision()` says `state`."""
    return tuple(facet.read() for facet in FACETS)
