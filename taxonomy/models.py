"""The taxonomy of strategies and the publications under each; its claims are in claim_models.py."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.urls import reverse

from reviewapp.corpus.choices import Grade
from reviewapp.corpus.models import Publication, one_of
from taxonomy.choices import SynonymKind
from taxonomy.claim_models import (
    CLAIM_FIELDS,
    Attribution,
    Axis,
    Claim,
    ClaimDevice,
    ClaimModel,
    FormerRule,
    Outcome,
    PublicationEffect,
    Quantity,
    Remark,
    SecondReading,
)

__all__ = [
    "CLAIM_FIELDS",
    "Attribution",
    "Axis",
    "Claim",
    "ClaimDevice",
    "ClaimModel",
    "Evidence",
    "Family",
    "FormerRule",
    "Group",
    "Outcome",
    "PublicationEffect",
    "PublicationFacets",
    "Quantity",
    "Remark",
    "SecondReading",
    "Strategy",
    "Synonym",
    "TaxonomyClass",
]


class TaxonomyClass(models.Model):
    """One of the review's classes: LLM training, LLM inference, system serving."""

    slug = models.SlugField(unique=True)
    name = models.TextField()
    definition = models.TextField()
    grade = models.TextField(choices=Grade)
    position = models.PositiveSmallIntegerField()
    publications = models.ManyToManyField(Publication, related_name="classes")

    class Meta:
        ordering = ["position"]
        verbose_name_plural = "taxonomy classes"

    def __str__(self) -> str:
        return self.name


class Family(models.Model):
    """A family of strategies, such as hardware optimization."""

    slug = models.SlugField(unique=True)
    name = models.TextField()
    definition = models.TextField()
    grade = models.TextField(choices=Grade)
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["position"]
        verbose_name_plural = "families"

    def __str__(self) -> str:
        return self.name


class Group(models.Model):
    """A group of strategies inside a family, such as size reduction."""

    family = models.ForeignKey(Family, models.CASCADE, related_name="groups")
    slug = models.SlugField(unique=True)
    name = models.TextField()
    definition = models.TextField()
    grade = models.TextField(choices=Grade)
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["family__position", "position"]

    def __str__(self) -> str:
        return self.name


class Strategy(models.Model):
    """A way to make language models faster, smaller or cheaper, and who wrote about it."""

    group = models.ForeignKey(Group, models.CASCADE, related_name="strategies")
    classes = models.ManyToManyField(TaxonomyClass, related_name="strategies")
    publications = models.ManyToManyField(
        Publication, through="Evidence", related_name="strategies"
    )
    slug = models.SlugField(unique=True)
    name = models.TextField()
    idea = models.TextField()
    trade = models.TextField()
    not_when = models.TextField()
    note = models.TextField(blank=True)
    grade = models.TextField(choices=Grade)
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["group__family__position", "group__position", "position"]
        verbose_name_plural = "strategies"

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("strategy", args=[self.slug])


class Evidence(models.Model):
    """The link from a publication to a strategy that it uses or studies."""

    publication = models.ForeignKey(Publication, models.CASCADE, related_name="evidence")
    strategy = models.ForeignKey(Strategy, models.CASCADE, related_name="evidence")

    class Meta:
        verbose_name_plural = "evidence"
        constraints = [
            models.UniqueConstraint(fields=["strategy", "publication"], name="evidence_once")
        ]

    def __str__(self) -> str:
        return f"{self.publication_id} uses {self.strategy_id}"


class PublicationFacets(models.Model):
    """What the list of publications filters and counts by: one narrow row per publication.

    Database triggers write it in the transaction that changes a publication, its links or its
    claims, so it is never stale. Counting from the wide rows and the link tables instead took
    over half a second at 100,000 publications.
    """

    publication = models.OneToOneField(
        Publication, models.CASCADE, primary_key=True, related_name="facets"
    )
    year = models.PositiveSmallIntegerField()
    venue_kind = models.TextField()
    artifact_kind = models.TextField()
    has_code = models.BooleanField()
    membership = models.TextField()
    confidence = models.TextField()
    classes = ArrayField(models.IntegerField(), db_default=[])
    families = ArrayField(models.IntegerField(), db_default=[])
    strategies = ArrayField(models.IntegerField(), db_default=[])
    objectives = ArrayField(models.TextField(), db_default=[])
    claim_count = models.PositiveSmallIntegerField(db_default=0)

    class Meta:
        verbose_name_plural = "publication facets"
        indexes = [
            GinIndex(fields=["strategies"], name="facets_strategies"),
            models.Index(
                fields=["-claim_count", "-year", "-publication"], name="facets_claim_count"
            ),
        ]

    def __str__(self) -> str:
        return f"facets of {self.publication_id}"


class Synonym(models.Model):
    """What else people call a strategy, or a term of the field, when they search."""

    strategy = models.ForeignKey(Strategy, models.CASCADE, null=True, related_name="synonyms")
    head = models.TextField()  # the strategy's name, or the term
    kind = models.TextField(choices=SynonymKind)
    text = models.TextField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["strategy", "head", "kind", "text"],
                nulls_distinct=False,
                name="synonym_once",
            ),
            one_of("kind", SynonymKind.values, name="synonym_kind_known"),
        ]

    def __str__(self) -> str:
        return f"{self.text} {self.get_kind_display()}: {self.head}"
