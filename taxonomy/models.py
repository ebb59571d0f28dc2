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
    """What pages count and order publications by: one narrow row per publication.

    Database triggers write it in the transaction that changes a publication, its links or its
    claims, so it is never stale. The facets of the list are kept as FacetValue.
    """

    publication = models.OneToOneField(
        Publication, models.CASCADE, primary_key=True, related_name="facets"
    )
    year = models.PositiveSmallIntegerField()
    membership = models.TextField()
    classes = ArrayField(models.IntegerField(), db_default=[])
    strategies = ArrayField(models.IntegerField(), db_default=[])
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


BLOCK = 4096  # publications in one row of FacetValue


class BitsField(models.Field):
    """One bit for each publication of a block; only SQL reads and writes it."""

    def db_type(self, connection: object) -> str:
        return f"bit({BLOCK})"


class FacetValue(models.Model):
    """A value of a facet, and which publications have it: one bit each, a block of them in a row.

    The publication with the id `n` is bit `n % BLOCK` of block `n // BLOCK`. For a facet of claims
    there is a row for each position that a claim may have, so that several such facets can be
    asked of one and the same claim. Triggers made from the list of facets write it
    (taxonomy/publications/facet_values.py).
    """

    block = models.PositiveIntegerField()
    facet = models.TextField()
    value = models.JSONField()
    claim = models.PositiveSmallIntegerField(null=True)
    bits = BitsField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["block", "facet", "value", "claim"],
                nulls_distinct=False,
                name="facet_value_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.facet} {self.value} in block {self.block}"


class FacetChange(models.Model):
    """A publication whose bits are still to be written: another transaction was writing some.

    Until then the counts read it anew.
    """

    publication = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"facets of {self.publication} are to be written"


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
