"""The taxonomy of strategies, the publications under each, their claims, what runs found."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from reviewapp.corpus.choices import Grade
from reviewapp.corpus.models import Publication, one_of
from reviewapp.ui.units import as_stated
from taxonomy.choices import (
    ClaimSource,
    Direction,
    Objective,
    Qualifier,
    Replicability,
    Status,
    SynonymKind,
)
from taxonomy.querysets import ClaimQuerySet


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


# What a claim says, in the order in which it is exported.
CLAIM_FIELDS = (
    "objective",
    "metric",
    "value",
    "unit",
    "qualifier",
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
    qualifier = models.TextField(choices=Qualifier, default=Qualifier.EXACT)
    direction = models.TextField(choices=Direction)
    baseline = models.TextField(blank=True)
    conditions = models.TextField(blank=True)
    hardware = models.TextField(blank=True)
    model = models.TextField(blank=True)
    source = models.TextField(choices=ClaimSource)
    # Whether and how a run could speak to it, and the rule that was written before any run.
    testable = models.TextField(choices=Replicability, default=Replicability.NO)
    study = models.TextField(blank=True)
    measure = models.TextField(blank=True)
    rule = models.TextField(blank=True)
    rule_written = models.DateField(null=True)
    rule_blind = models.BooleanField(null=True)
    # Database triggers write what is searched: the claim's own words and its publication's name.
    search = SearchVectorField(null=True, editable=False)

    objects = ClaimQuerySet.as_manager()

    class Meta:
        ordering = ["publication", "position"]
        indexes = [
            # From the highest down or the lowest up, the claims that may stand on one axis.
            models.Index(
                "objective",
                "unit",
                "direction",
                F("value").desc(),
                "id",
                name="claim_by_value",
            ),
            # The gap map counts claims by these two without reading the claims.
            models.Index(fields=["publication", "objective"], name="claim_by_objective"),
            GinIndex(fields=["search"], name="claim_search"),
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
            one_of("qualifier", Qualifier.values, name="claim_qualifier_known"),
            one_of("testable", Replicability.values, name="claim_testable_known"),
            models.CheckConstraint(
                condition=Q(rule="", rule_written=None, rule_blind=None)
                | ~Q(rule="") & Q(rule_written__isnull=False, rule_blind__isnull=False),
                name="claim_rule_dated",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.metric}: {self.as_stated}"

    @property
    def code(self) -> str:
        """Return its stable public name: "frantar2023sparsegpt-0"."""
        return f"{self.publication.key}-{self.position}"

    @property
    def is_exact(self) -> bool:
        """Whether the source states the number without "up to", "about" or the like."""
        return self.qualifier == Qualifier.EXACT

    @property
    def as_stated(self) -> str:
        """Return the number as its source states it: "up to 25 x"."""
        return as_stated(self.value, self.unit, self.get_qualifier_display())


class Outcome(models.Model):
    """What one run on this site found of one claim, by the rule written before it."""

    claim = models.ForeignKey(Claim, models.CASCADE, related_name="outcomes")
    # The number of a run. Case studies stand above this room: the database holds the reference.
    run = models.PositiveBigIntegerField()
    study = models.SlugField()
    hardware = models.TextField()
    # Of several outcomes of a claim, one of the highest rank stands for it.
    rank = models.PositiveSmallIntegerField(default=0)
    status = models.TextField(choices=Status)
    reason = models.TextField(blank=True)
    numbers = models.JSONField(default=list)
    rule_written = models.DateField(null=True)

    class Meta:
        ordering = ["-run"]
        indexes = [models.Index(fields=["run"], name="outcome_by_run")]
        constraints = [
            models.UniqueConstraint(fields=["claim", "run"], name="outcome_once"),
            one_of("status", Status.values, name="outcome_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.claim_id} by run {self.run}: {self.status}"


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
