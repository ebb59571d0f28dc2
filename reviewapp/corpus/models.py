"""The review and its records: bibliographic facts, how sure they are, where they were checked."""

from calendar import month_name
from collections.abc import Iterable
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Lower
from django.urls import reverse

from reviewapp.corpus.choices import (
    ArtifactKind,
    Confidence,
    CriterionKind,
    Grade,
    LimitationBasis,
    Membership,
    VenueKind,
)
from reviewapp.corpus.querysets import PublicationQuerySet, ReviewQuerySet


def one_of(field: str, choices: Iterable[str], *, name: str) -> models.CheckConstraint:
    """Return the database constraint that `field` holds one of `choices`."""
    return models.CheckConstraint(condition=Q(**{f"{field}__in": list(choices)}), name=name)


def folded(text: Any, function: str = "search_text") -> Func:
    """Return the text as search compares it: without accents, in one spelling, words parted."""
    return Func(text, function=function, output_field=models.TextField())


def words(*texts: Any, weight: str) -> SearchVector:
    """Return the search vector of English texts; a match counts by the weight, A most, D least."""
    return SearchVector(*map(folded, texts), weight=weight, config="english")


def joined(texts: str) -> Func:
    """Return the texts of an array as one."""
    return Func(
        F(texts),
        Value(" "),
        function="immutable_array_to_string",
        output_field=models.TextField(),
    )


class Review(models.Model):
    """A systematic review as its own record and descriptions establish it."""

    slug = models.SlugField(unique=True)
    title = models.TextField()
    authors = ArrayField(models.TextField())
    venue = models.TextField()
    volume = models.PositiveSmallIntegerField(null=True)
    year = models.PositiveSmallIntegerField()
    pages = models.TextField(blank=True)
    arxiv_id = models.TextField(blank=True)
    arxiv_licence = models.TextField(blank=True)
    doi = models.TextField(blank=True)
    period_from = models.TextField()
    period_to = models.TextField()
    period_grade = models.TextField(choices=Grade)
    guideline = models.TextField(blank=True)
    guideline_edition = models.TextField(blank=True)
    guideline_grade = models.TextField(choices=Grade, blank=True)
    research_questions = ArrayField(models.TextField(), default=list)
    database_count = models.PositiveSmallIntegerField(null=True)
    named_note = models.TextField(blank=True)
    not_established = ArrayField(models.TextField(), default=list)

    objects = ReviewQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(period_from__lte=F("period_to")), name="review_period_in_order"
            )
        ]

    def __str__(self) -> str:
        return self.title


class SourceDatabase(models.Model):
    """A bibliographic database that the review searched."""

    review = models.ForeignKey(Review, models.CASCADE, related_name="databases")
    name = models.TextField()
    grade = models.TextField(choices=Grade)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["review", "name"], name="database_once_per_review")
        ]

    def __str__(self) -> str:
        return self.name


class Tool(models.Model):
    """Software that the review's authors used."""

    review = models.ForeignKey(Review, models.CASCADE, related_name="tools")
    name = models.TextField()
    use = models.TextField()
    grade = models.TextField(choices=Grade)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["review", "name"], name="tool_once_per_review")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.use})"


class Criterion(models.Model):
    """A rule by which the review includes or excludes a record."""

    review = models.ForeignKey(Review, models.CASCADE, related_name="criteria")
    kind = models.TextField(choices=CriterionKind)
    text = models.TextField()
    grade = models.TextField(choices=Grade)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["review", "kind", "text"], name="criterion_once_per_review"
            ),
            one_of("kind", CriterionKind.values, name="criterion_kind_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class FlowNumber(models.Model):
    """A number of the review's PRISMA flow that a source reports; absent rows are not reported."""

    review = models.ForeignKey(Review, models.CASCADE, related_name="flow_numbers")
    key = models.TextField()
    n = models.PositiveIntegerField()
    grade = models.TextField(choices=Grade)
    note = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["review", "key"], name="flow_number_once_per_review")
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.n}"


class Publication(models.Model):
    """One publication: what it is, what it says in short, and how it relates to the review."""

    review = models.ForeignKey(Review, models.CASCADE, related_name="publications")
    key = models.SlugField(max_length=80, unique=True)
    title = models.TextField()
    authors = ArrayField(models.TextField())
    # Of the first version that is known: what lists, facets and charts go by.
    year = models.PositiveSmallIntegerField()
    month = models.PositiveSmallIntegerField(null=True)
    # The venue in one line, as its sources write it; the parts below are what a citation needs.
    venue = models.TextField()
    venue_kind = models.TextField(choices=VenueKind)
    venue_name = models.TextField()
    venue_acronym = models.TextField(blank=True)
    venue_track = models.TextField(blank=True)
    volume = models.TextField(blank=True)
    number = models.TextField(blank=True)
    first_page = models.TextField(blank=True)
    last_page = models.TextField(blank=True)
    # Of the version that is cited: that of the venue, for a preprint its first version.
    published_year = models.PositiveSmallIntegerField()
    published_month = models.PositiveSmallIntegerField(null=True)
    venue_confidence = models.TextField(choices=Confidence)
    venue_note = models.TextField(blank=True)
    # On arXiv; nothing where there is none.
    first_version_year = models.PositiveSmallIntegerField(null=True)
    first_version_month = models.PositiveSmallIntegerField(null=True)
    first_version_confidence = models.TextField(choices=Confidence, blank=True)
    arxiv_id = models.TextField(null=True, unique=True)  # noqa: DJ001 - unique where known
    doi = models.TextField(null=True, unique=True)  # noqa: DJ001 - unique where known
    url = models.URLField(max_length=500)
    code_url = models.URLField(max_length=500, blank=True)
    artifact_name = models.TextField()
    artifact_kind = models.TextField(choices=ArtifactKind)
    hardware = ArrayField(models.TextField(), default=list)
    models_used = ArrayField(models.TextField(), default=list)
    max_params_billion = models.FloatField(null=True)
    summary = models.TextField()
    limitation = models.TextField()
    limitation_basis = models.TextField(choices=LimitationBasis)
    membership = models.TextField(choices=Membership)
    membership_grade = models.TextField(choices=Grade, blank=True)
    confidence = models.TextField(choices=Confidence)
    from_general_knowledge = models.BooleanField(default=False)
    sources = ArrayField(models.TextField())
    # A database trigger keeps the text of the claims here, for the search vector below.
    claims_text = models.TextField(default="", editable=False)
    search = models.GeneratedField(
        expression=words("title", "artifact_name", weight="A")
        + SearchVector(folded("authors", "search_authors"), weight="B", config="simple")
        + words("summary", weight="C")
        + words("venue", joined("hardware"), joined("models_used"), "claims_text", weight="D")
        + SearchVector(
            "key",
            "year",
            *map(folded, ("arxiv_id", "doi", "code_url")),
            weight="D",
            config="simple",
        ),
        output_field=SearchVectorField(),
        db_persist=True,
        editable=False,
    )

    objects = PublicationQuerySet.as_manager()

    class Meta:
        ordering = ["-year", "-month", "key"]
        indexes = [
            GinIndex(fields=["search"], name="publication_search"),
            # What is known by its name or its repository is found by it first.
            models.Index(folded("artifact_name", "search_key"), name="publication_by_name"),
            models.Index(folded("code_url", "search_repository"), name="publication_by_repository"),
            models.Index(F("year").desc(), F("month").desc(), "key", name="publication_newest"),
            models.Index(fields=["membership"], name="publication_membership"),
            models.Index(Lower("title"), "key", name="publication_title"),
            models.Index(
                F("max_params_billion").desc(nulls_last=True),
                F("year").desc(),
                F("month").desc(),
                "key",
                name="publication_size",
            ),
            # The few columns that are aggregated over many publications, without the wide rows.
            models.Index(
                fields=["id"],
                include=["year", "max_params_billion", "hardware"],
                condition=~Q(membership=Membership.EXTENSION),
                name="publication_counted",
            ),
            models.Index(
                fields=["id"],
                include=["membership", "from_general_knowledge"],
                name="publication_kinds",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(year__range=(1950, 2100)), name="publication_year_possible"
            ),
            models.CheckConstraint(
                condition=Q(month__range=(1, 12)) | Q(month=None), name="publication_month_possible"
            ),
            models.CheckConstraint(
                condition=Q(published_year__range=(1950, 2100)),
                name="publication_published_year_possible",
            ),
            models.CheckConstraint(
                condition=Q(published_month__range=(1, 12)) | Q(published_month=None),
                name="publication_published_month_possible",
            ),
            models.CheckConstraint(
                condition=Q(
                    first_version_year=None, first_version_month=None, first_version_confidence=""
                )
                | Q(
                    first_version_year__range=(1950, 2100),
                    first_version_month__range=(1, 12),
                    first_version_confidence__in=Confidence.values,
                ),
                name="publication_first_version_whole",
            ),
            models.CheckConstraint(
                condition=Q(arxiv_id__regex=r"^\d{4}\.\d{4,5}$") | Q(arxiv_id=None),
                name="publication_arxiv_id_well_formed",
            ),
            models.CheckConstraint(
                condition=Q(doi__regex=r"^10\.\d{4,9}/\S+$") | Q(doi=None),
                name="publication_doi_well_formed",
            ),
            models.UniqueConstraint(Lower("doi"), name="publication_doi_once"),
            models.CheckConstraint(
                condition=Q(max_params_billion__gt=0) | Q(max_params_billion=None),
                name="publication_size_positive",
            ),
            models.CheckConstraint(
                condition=~Q(membership=Membership.NAMED) | ~Q(membership_grade=""),
                name="publication_named_has_grade",
            ),
            one_of("venue_kind", VenueKind.values, name="publication_venue_kind_known"),
            one_of("artifact_kind", ArtifactKind.values, name="publication_artifact_kind_known"),
            one_of("membership", Membership.values, name="publication_membership_known"),
            one_of("confidence", Confidence.values, name="publication_confidence_known"),
            one_of(
                "venue_confidence", Confidence.values, name="publication_venue_confidence_known"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("publication", args=[self.key])

    @property
    def in_review(self) -> bool:
        """Whether it is counted among the review's publications (extensions are not)."""
        return self.membership != Membership.EXTENSION

    @property
    def short_venue(self) -> str:
        """Return the venue with the year of the version that is cited: "ICLR 2023"."""
        return f"{self.venue_acronym or self.venue_name} {self.published_year}"

    @property
    def first_version(self) -> str:
        """Return when a first version of what is cited stood on arXiv: "October 2022", or ""."""
        if self.venue_kind == VenueKind.PREPRINT or self.first_version_month is None:
            return ""
        return f"{month_name[self.first_version_month]} {self.first_version_year}"

    @property
    def published(self) -> str:
        """Return when the version that is cited was published: "May 2023", or the year alone."""
        return f"{month_name[self.published_month or 0]} {self.published_year}".strip()

    @property
    def short_authors(self) -> str:
        """Return the first author's family name, with "et al." when there are others."""
        first = self.authors[0].split(",")[0]
        return first if len(self.authors) == 1 else f"{first} et al."


class CaseStudy(models.Model):
    """A case study of the review: the publication it examines and the aim it serves."""

    review = models.ForeignKey(Review, models.CASCADE, related_name="case_studies")
    publication = models.ForeignKey(Publication, models.CASCADE, related_name="case_studies")
    subject = models.TextField()
    subject_grade = models.TextField(choices=Grade)
    aim = models.TextField()
    aim_grade = models.TextField(choices=Grade)

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "case studies"
        constraints = [
            models.UniqueConstraint(
                fields=["review", "publication"], name="case_study_once_per_publication"
            )
        ]

    def __str__(self) -> str:
        return self.subject
