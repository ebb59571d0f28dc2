"""Claims, what each is about, which strategies it is an effect of, and what runs found of it."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from reviewapp.corpus.models import Publication, one_of
from reviewapp.ui.units import as_stated
from taxonomy.choices import (
    AxisKind,
    BaselineKind,
    ClaimSource,
    DeviceNamed,
    DeviceRole,
    Direction,
    Objective,
    Origin,
    Phase,
    Qualifier,
    QuantityGroup,
    RatioRule,
    RemarkKind,
    Replicability,
    Scope,
    Status,
    Sureness,
)
from taxonomy.querysets import ClaimQuerySet

# To PostgreSQL NaN is greater than every number, so the upper bound excludes it.
FINITE = {"gt": float("-inf"), "lt": float("inf")}


def finite(field: str, *, name: str) -> models.CheckConstraint:
    """Return the constraint that a number, where there is one, is neither infinite nor NaN."""
    bounds = {f"{field}__{bound}": value for bound, value in FINITE.items()}
    return models.CheckConstraint(condition=Q(**{field: None}) | Q(**bounds), name=name)


class Quantity(models.Model):
    """What a number measures, in a controlled vocabulary: "memory reduction".

    `match` names what else two claims must share, besides the quantity, to stand on one axis.
    """

    slug = models.SlugField(unique=True)
    position = models.PositiveSmallIntegerField()
    group = models.TextField(choices=QuantityGroup)
    name = models.TextField()
    definition = models.TextField()
    direction = models.TextField(choices=Direction)
    unit_family = models.TextField()
    axis_kind = models.TextField(choices=AxisKind)
    axis_unit = models.TextField()
    match = ArrayField(models.TextField(), default=list)
    comparable = models.TextField()
    # What is close to it and yet another question: [{"quantity": slug, "how": words}].
    related = models.JSONField(default=list)

    class Meta:
        ordering = ["position"]
        verbose_name_plural = "quantities"
        constraints = [
            one_of("group", QuantityGroup.values, name="quantity_group_known"),
            one_of("direction", Direction.values, name="quantity_direction_known"),
            one_of("axis_kind", AxisKind.values, name="quantity_axis_kind_known"),
        ]

    def __str__(self) -> str:
        return self.name


class Axis(models.Model):
    """What claims share whose numbers may stand together: a quantity and all that it matches.

    What its quantity does not match is empty.
    """

    quantity = models.ForeignKey(Quantity, models.CASCADE, related_name="axes")
    phase = models.TextField(choices=Phase, blank=True)
    part = models.TextField(blank=True)
    job = models.TextField(blank=True)
    benchmark = models.TextField(blank=True)
    unit = models.TextField(blank=True)

    class Meta:
        ordering = ["quantity__position", "id"]
        verbose_name_plural = "axes"
        constraints = [
            models.UniqueConstraint(
                fields=["quantity", "phase", "part", "job", "benchmark", "unit"], name="axis_once"
            ),
            one_of("phase", ["", *Phase.values], name="axis_phase_known"),
        ]

    def __str__(self) -> str:
        return ", ".join([self.quantity.name, *self.details])

    @property
    def details(self) -> list[str]:
        """Return in words what its claims share besides their quantity."""
        phase = "" if self.phase == Phase.NONE else self.get_phase_display()
        part = self.part.replace("-", " ")
        return [text for text in (phase, part, self.job, self.benchmark, self.unit) if text]


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
    """A number that a publication reports, on its authors' hardware, with its conditions.

    `ratio` is the number as a factor in the good direction, where its words allow one; `plotted`
    is what stands on its axis: the ratio, or the value in the axis's unit. `scope` says whether it
    is an effect, and of how much: of one strategy alone, of several, of a whole system.

    What lists filter by is repeated in columns of its own. `device_gb` is the most memory of its
    stated and implied devices, or the least where they are alternatives; `device_named` is whether
    its own words name a product; both know nothing of the baseline's devices.
    `parameters_billion` is the size of its largest model, or the upper bound where only that is
    known; null too where only a lower bound is. `tried` is whether a run that counts has judged it
    by its rule.
    """

    publication = models.ForeignKey(Publication, models.CASCADE, related_name="claims")
    position = models.PositiveSmallIntegerField()
    objective = models.TextField(choices=Objective)
    metric = models.TextField()
    value = models.FloatField()
    unit = models.TextField()
    qualifier = models.TextField(choices=Qualifier, default=Qualifier.EXACT)
    direction = models.TextField(choices=Direction)
    baseline = models.TextField(blank=True)
    baseline_kind = models.TextField(choices=BaselineKind, blank=True)
    conditions = models.TextField(blank=True)
    # In words, from its devices and models: what is searched and read in lists.
    hardware = models.TextField(blank=True)
    model = models.TextField(blank=True)
    source = models.TextField(choices=ClaimSource)

    # What it is a number of.
    axis = models.ForeignKey(Axis, models.PROTECT, related_name="claims")
    phase = models.TextField(choices=Phase)
    part = models.TextField(blank=True)
    pattern = models.TextField(blank=True)
    percentile = models.TextField(blank=True)
    job = models.TextField(blank=True)
    task = models.TextField(blank=True)
    benchmark = models.TextField(blank=True)
    ratio = models.FloatField(null=True)
    ratio_rule = models.TextField(choices=RatioRule)
    ratio_how = models.TextField()
    ratio_readings = ArrayField(models.FloatField(), default=list)
    derivable_ratio = models.TextField(blank=True)
    plotted = models.FloatField(null=True)
    # The other end of one published range: as a claim where it is one, as a number always.
    other_end = models.OneToOneField("self", models.SET_NULL, null=True, related_name="+")
    other_plotted = models.FloatField(null=True)

    # What it is an effect of; the strategies are its attributions.
    scope = models.TextField(choices=Scope)
    why = models.TextField()
    confidence = models.TextField(choices=Sureness)
    note = models.TextField(blank=True)

    # On what; the devices and models themselves are rows of their own.
    hardware_alternatives = models.BooleanField(default=False)
    hardware_fewest = models.PositiveIntegerField(null=True)
    hardware_most = models.PositiveIntegerField(null=True)
    hardware_note = models.TextField(blank=True)
    device_gb = models.FloatField(null=True)
    device_named = models.TextField(choices=DeviceNamed, default=DeviceNamed.NONE)
    parameters_billion = models.FloatField(null=True)

    # Whether and how a run could speak to it, and the rule that was written before any run.
    testable = models.TextField(choices=Replicability, default=Replicability.NO)
    study = models.TextField(blank=True)
    measure = models.TextField(blank=True)
    rule = models.TextField(blank=True)
    rule_written = models.DateField(null=True)
    rule_blind = models.BooleanField(null=True)
    # A database trigger writes it with every change of the claim's outcomes.
    tried = models.BooleanField(db_default=False, editable=False)
    # Database triggers write what is searched: the claim's own words and its publication's name.
    search = SearchVectorField(null=True, editable=False)

    objects = ClaimQuerySet.as_manager()

    class Meta:
        ordering = ["publication", "position"]
        indexes = [
            # From the highest down or the lowest up, the claims that may stand on one axis.
            models.Index("axis", F("plotted").desc(), "id", name="claim_by_axis"),
            # From the highest down or the lowest up, by objective and unit.
            models.Index(
                "objective",
                "unit",
                "direction",
                F("value").desc(),
                "id",
                name="claim_by_value",
            ),
            # The few columns that all claims are counted by, without the wide rows.
            models.Index(
                fields=["publication"],
                include=[
                    "scope",
                    "source",
                    "baseline_kind",
                    "device_named",
                    "testable",
                    "study",
                    "rule_blind",
                ],
                name="claim_kinds",
            ),
            models.Index(
                fields=["phase", "device_gb"],
                include=["axis", "scope", "plotted", "id"],
                name="claim_by_device",
            ),
            models.Index(fields=["study"], condition=~Q(study=""), name="claim_by_study"),
            GinIndex(fields=["search"], name="claim_search"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["publication", "position"], name="claim_once"),
            finite("value", name="claim_value_finite"),
            finite("plotted", name="claim_plotted_finite"),
            one_of("objective", Objective.values, name="claim_objective_known"),
            one_of("direction", Direction.values, name="claim_direction_known"),
            one_of("source", ClaimSource.values, name="claim_source_known"),
            one_of("qualifier", Qualifier.values, name="claim_qualifier_known"),
            one_of("phase", Phase.values, name="claim_phase_known"),
            one_of("scope", Scope.values, name="claim_scope_known"),
            one_of("confidence", Sureness.values, name="claim_confidence_known"),
            one_of("device_named", DeviceNamed.values, name="claim_device_named_known"),
            one_of("baseline_kind", ["", *BaselineKind.values], name="claim_baseline_kind_known"),
            one_of("ratio_rule", RatioRule.values, name="claim_ratio_rule_known"),
            one_of("testable", Replicability.values, name="claim_testable_known"),
            models.CheckConstraint(
                condition=Q(ratio=None, ratio_rule__in=[RatioRule.AMBIGUOUS, RatioRule.NONE])
                | ~Q(ratio_rule__in=[RatioRule.AMBIGUOUS, RatioRule.NONE]) & Q(ratio__gt=0),
                name="claim_ratio_by_its_rule",
            ),
            models.CheckConstraint(
                condition=Q(rule="", rule_written=None, rule_blind=None)
                | ~Q(rule="") & Q(rule_written__isnull=False, rule_blind__isnull=False),
                name="claim_rule_dated",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.metric}: {self.as_stated}"

    def get_absolute_url(self) -> str:
        return reverse("claim", args=[self.code])

    @property
    def code(self) -> str:
        """Return its stable public name: "frantar2023sparsegpt-0"."""
        return f"{self.publication.key}-{self.position}"

    @property
    def is_range_end(self) -> bool:
        """Whether the number is one of the two ends of a published range."""
        return self.qualifier in (Qualifier.RANGE_LOW, Qualifier.RANGE_HIGH)

    @property
    def as_stated(self) -> str:
        """Return the number as its source states it: "up to 25 x"."""
        return as_stated(self.value, self.unit, self.get_qualifier_display())


class Attribution(models.Model):
    """A strategy that a claim is an effect of, by the claim's scope.

    One that is not `counted` is an effect by our reading too, but its publication was not filed
    under the strategy when the claims were read: it is shown on the claim and counted nowhere.
    """

    claim = models.ForeignKey(Claim, models.CASCADE, related_name="attributions")
    strategy = models.ForeignKey("taxonomy.Strategy", models.CASCADE, related_name="attributions")
    position = models.PositiveSmallIntegerField()
    counted = models.BooleanField(default=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["strategy", "claim"], name="attribution_once")
        ]

    def __str__(self) -> str:
        return f"{self.claim_id} is an effect of {self.strategy_id}"


class PublicationEffect(models.Model):
    """What a publication claims of a strategy about an objective: one narrow row.

    The gap map and the overviews count these. Database triggers write them in the transaction that
    changes a claim or an attribution, so they are never stale; counting the claims instead took
    over two seconds at 100,000 publications. There is a column for the claims of each scope that
    is an effect. One row of each publication and objective is `first`, so that publications can be
    counted once.
    """

    publication = models.ForeignKey(Publication, models.CASCADE, related_name="+", db_index=False)
    strategy = models.ForeignKey(
        "taxonomy.Strategy", models.CASCADE, related_name="+", db_index=False
    )
    objective = models.TextField()
    isolated = models.PositiveSmallIntegerField()
    combined = models.PositiveSmallIntegerField()
    against_another = models.PositiveSmallIntegerField()
    on_cpu = models.PositiveSmallIntegerField()
    first = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["publication", "strategy", "objective"], name="publication_effect_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.publication_id} on {self.strategy_id}: {self.objective}"


class SecondReading(models.Model):
    """What a second reader, who had not seen the first reading, made of a claim.

    `testable` is empty where both readings say the same.
    """

    claim = models.OneToOneField(Claim, models.CASCADE, related_name="second_reading")
    scope = models.TextField(choices=Scope, blank=True)
    strategies = models.ManyToManyField("taxonomy.Strategy", related_name="+")
    agrees = models.BooleanField(null=True)
    doubt = models.TextField(blank=True)
    testable = models.TextField(choices=Replicability, blank=True)

    class Meta:
        constraints = [
            one_of("scope", ["", *Scope.values], name="second_scope_known"),
            one_of("testable", ["", *Replicability.values], name="second_testable_known"),
        ]

    def __str__(self) -> str:
        return f"second reading of {self.claim_id}"


class ClaimDevice(models.Model):
    """A device that a claim's own words name, imply, or name for its baseline.

    `is_product` says whether it is a product; else only a kind is named, such as "GPU".
    """

    claim = models.ForeignKey(Claim, models.CASCADE, related_name="devices")
    role = models.TextField(choices=DeviceRole)
    position = models.PositiveSmallIntegerField()
    name = models.TextField()
    is_product = models.BooleanField()
    count = models.PositiveIntegerField(null=True)
    memory_gb = models.FloatField(null=True)

    class Meta:
        ordering = ["claim_id", "role", "position"]
        constraints = [
            models.UniqueConstraint(fields=["claim", "role", "position"], name="device_once"),
            one_of("role", DeviceRole.values, name="device_role_known"),
            models.CheckConstraint(
                condition=Q(memory_gb=None) | Q(memory_gb__gt=0), name="device_memory_positive"
            ),
        ]

    def __str__(self) -> str:
        count = f"{self.count} × " if self.count else ""
        memory = f" ({self.memory_gb:g} GB)" if self.memory_gb else ""
        return f"{count}{self.name}{memory}"


class ClaimModel(models.Model):
    """A model that a claim's own words name, with its parameters or their bounds, in billions."""

    claim = models.ForeignKey(Claim, models.CASCADE, related_name="models")
    position = models.PositiveSmallIntegerField()
    name = models.TextField()
    parameters_billion = models.FloatField(null=True)
    at_least_billion = models.FloatField(null=True)
    at_most_billion = models.FloatField(null=True)

    class Meta:
        ordering = ["claim_id", "position"]
        constraints = [
            models.UniqueConstraint(fields=["claim", "position"], name="claim_model_once")
        ]

    def __str__(self) -> str:
        return self.name


class Remark(models.Model):
    """A doubt about a record or one of its claims, or a correction that was made to it.

    Of a correction, `field` is what was changed, `before` what stood there, `text` what stands
    there now and `source` why. A doubt is `settled` where a correction has answered it.
    """

    publication = models.ForeignKey(Publication, models.CASCADE, related_name="remarks")
    claim = models.ForeignKey(Claim, models.CASCADE, null=True, related_name="remarks")
    kind = models.TextField(choices=RemarkKind)
    field = models.TextField(blank=True)
    before = models.TextField(blank=True)
    text = models.TextField()
    source = models.TextField(blank=True)
    settled = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        constraints = [one_of("kind", RemarkKind.values, name="remark_kind_known")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.text}"


class FormerRule(models.Model):
    """A rule that a later one replaced; `after_result` where a result existed by then."""

    claim = models.ForeignKey(Claim, models.CASCADE, related_name="former_rules")
    text = models.TextField()
    written = models.DateField()
    blind = models.BooleanField()
    replaced = models.DateField()
    reason = models.TextField()
    after_result = models.BooleanField()

    class Meta:
        ordering = ["claim_id", "written", "id"]

    def __str__(self) -> str:
        return f"rule of {self.claim_id} until {self.replaced}"


class Outcome(models.Model):
    """What one run on this site found of one claim, by the rule written before it.

    It `counts` if its run was of an unmodified preset that measures and, where it was contributed,
    if somebody has `accepted` it; others are only listed.
    """

    claim = models.ForeignKey(Claim, models.CASCADE, related_name="outcomes")
    # The number of a run. Case studies stand above this room: the database holds the reference.
    run = models.PositiveBigIntegerField()
    study = models.SlugField()
    hardware = models.TextField()
    shipped = models.BooleanField(default=False, help_text="Its run came with the project")
    accepted = models.BooleanField(
        null=True, help_text="Of a contributed run: whether somebody accepted it"
    )
    counts = models.BooleanField(default=True)
    # Of several outcomes of a claim on like hardware, the latest of the highest rank stands.
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
            models.CheckConstraint(
                condition=Q(accepted=None) | Q(shipped=False), name="outcome_shipped_or_contributed"
            ),
            models.CheckConstraint(
                condition=Q(accepted=None) | Q(accepted=True) | Q(counts=False),
                name="outcome_counts_once_accepted",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.claim_id} by run {self.run}: {self.status}"

    @property
    def origin(self) -> Origin:
        """Return where its run was made."""
        if self.accepted is not None:
            return Origin.CONTRIBUTED
        return Origin.REFERENCE if self.shipped else Origin.HERE

    @property
    def run_label(self) -> str:
        """Return the run in words; one that this site has not measured says so."""
        return f"{'contributed ' if self.origin == Origin.CONTRIBUTED else ''}run {self.run}"
