"""The taxonomy of strategies, the publications filed under each, and what they claim."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Func, Q, Value
from django.urls import reverse

from reviewapp.corpus.models import Grade, Publication, one_of
from reviewapp.ui.units import as_said, split_unit


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


class Objective(models.TextChoices):
    """What a claim is about; assigned by this project."""

    THROUGHPUT = "throughput", "Throughput"
    LATENCY = "latency", "Latency"
    MEMORY = "memory", "Memory"
    MODEL_SIZE = "model-size", "Model size"
    QUALITY = "quality", "Quality"
    COST = "cost", "Cost"
    SCALE = "scale", "Scale"
    COMMUNICATION = "communication", "Communication"
    RELIABILITY = "reliability", "Reliability"


class Direction(models.TextChoices):
    HIGHER = "higher_better", "higher is better"
    LOWER = "lower_better", "lower is better"


class ClaimSource(models.TextChoices):
    ABSTRACT = "abstract", "abstract"
    PAPER = "paper", "paper"
    README = "readme", "project README"


# What a claim says, in the order in which it is exported.
CLAIM_FIELDS = (
    "objective",
    "metric",
    "value",
    "unit",
    "direction",
    "baseline",
    "conditions",
    "hardware",
    "model",
    "source",
)


class Claim(models.Model):
    """A number that a publication reports, on its authors' hardware, with its conditions."""

    publication = models.ForeignKey(Publication, models.CASCADE, related_name="claims")
    position = models.PositiveSmallIntegerField()
    objective = models.TextField(choices=Objective)
    metric = models.TextField()
    value = models.FloatField()
    unit = models.TextField()
    direction = models.TextField(choices=Direction)
    baseline = models.TextField(blank=True)
    conditions = models.TextField(blank=True)
    hardware = models.TextField(blank=True)
    model = models.TextField(blank=True)
    source = models.TextField(choices=ClaimSource)

    class Meta:
        ordering = ["publication", "position"]
        indexes = [
            # From the highest down or the lowest up, the claims that may stand on one axis.
            models.Index(
                "objective",
                Func("unit", Value(" ("), Value(1), function="split_part"),
                "direction",
                F("value").desc(),
                "id",
                name="claim_by_value",
            ),
            # The gap map counts claims by these two without reading the claims.
            models.Index(fields=["publication", "objective"], name="claim_by_objective"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["publication", "position"], name="claim_once"),
            models.CheckConstraint(
                # To PostgreSQL NaN is greater than every number, so the upper bound excludes it.
                condition=Q(value__gt=float("-inf")) & Q(value__lt=float("inf")),
                name="claim_value_finite",
            ),
            one_of("objective", Objective.values, name="claim_objective_known"),
            one_of("direction", Direction.values, name="claim_direction_known"),
            one_of("source", ClaimSource.values, name="claim_source_known"),
        ]

    def __str__(self) -> str:
        return f"{self.metric}: {self.value:g} {self.unit}"

    @property
    def base_unit(self) -> str:
        """Return the unit without its qualifier: "x" for "x (up to)"."""
        return split_unit(self.unit)[0]

    @property
    def qualifier(self) -> str:
        """Return what the source says of the number, such as "up to"; empty when nothing."""
        return split_unit(self.unit)[1]

    @property
    def said(self) -> str:
        """Return the number as its source has it: "up to 25 x"."""
        return as_said(self.value, self.unit)


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
