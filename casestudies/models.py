"""Runs of the case studies, what they said on the way, and what they measured."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.dateformat import format as format_date

from casestudies.choices import UNFINISHED, Device, EventKind, State
from casestudies.lab import result
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import CLAIMS, PRESETS, SMOKE, Study
from casestudies.lab.machine import Machine, Needs
from casestudies.lab.result import Environment, Result
from casestudies.querysets import (
    ContributionQuerySet,
    RunQuerySet,
    SweepQuerySet,
    WorkerQuerySet,
)
from reviewapp.corpus.models import one_of
from taxonomy.choices import Origin, Status
from taxonomy.claims import outcomes

TESTS_ONLY = "The smoke preset shows that the study works, not what it finds."
BUSY = 0.5  # of the cores at work when a run begins
LONGEST_NOTE = 2_000
MOST_TAGS, LONGEST_TAG = 10, 40
LONGEST_CONTRIBUTOR, LONGEST_FILE_NAME = 100, 200


class Sweep(models.Model):
    """Runs that were asked for at once and differ in the value of one parameter alone.

    The values stand, with their types, in the parameters of its runs.
    """

    study = models.TextField()
    preset = models.TextField()
    parameter = models.TextField()
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="sweeps"
    )
    created = models.DateTimeField()
    note = models.CharField(max_length=LONGEST_NOTE, blank=True)

    objects = SweepQuerySet.as_manager()

    class Meta:
        ordering = ["-created", "-id"]
        indexes = [models.Index(fields=["study", "-created"], name="sweep_study_created")]
        constraints = [
            models.CheckConstraint(condition=~Q(parameter=""), name="sweep_of_a_parameter")
        ]

    def __str__(self) -> str:
        return f"{self.study} sweep {self.pk} of {self.parameter}"

    def get_absolute_url(self) -> str:
        return reverse("sweep", args=[self.pk])

    @property
    def definition(self) -> Study | None:
        """Return the study's declaration, or None when the catalogue no longer has it."""
        return STUDIES.get(self.study)

    @property
    def label(self) -> str:
        return f"sweep {self.pk}"

    @property
    def parameter_in_words(self) -> str:
        return self.parameter.replace("_", " ")

    @property
    def values(self) -> list[Any]:
        """Return what the parameter is in each of the runs, in the order of `ordered`."""
        return [run.swept_value for run in self.ordered(self.runs.all())]

    def ordered(self, runs: Iterable["Run"]) -> list["Run"]:
        """Return its runs by their value where it is a number, else as they were asked for."""
        found = sorted(runs, key=lambda run: run.pk)
        for run in found:
            run.sweep = self  # it is at hand, and each run's value asks for it
        if all(type(run.swept_value) in (int, float) for run in found):
            found.sort(key=lambda run: run.swept_value)
        return found


class Contribution(models.Model):
    """A file of runs that `contributor` made elsewhere, and who brought it here.

    Its runs decide nothing until somebody accepts them. Who did so last, and who took that back,
    stays written down.
    """

    contributor = models.CharField(max_length=LONGEST_CONTRIBUTOR)
    file_name = models.CharField(max_length=LONGEST_FILE_NAME)
    note = models.CharField(max_length=LONGEST_NOTE, blank=True)
    created = models.DateTimeField()
    importer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="contributions",
        help_text="Nobody: it came by the command line",
    )
    accepted = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    withdrawn = models.DateTimeField(
        null=True, blank=True, help_text="When the acceptance was taken back"
    )
    withdrawn_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = ContributionQuerySet.as_manager()

    class Meta:
        ordering = ["-created", "-id"]
        default_permissions = ("add", "delete")
        permissions = [("accept_contribution", "Can accept contributed runs")]
        constraints = [
            models.CheckConstraint(condition=~Q(contributor=""), name="contribution_of_somebody"),
            models.CheckConstraint(
                condition=Q(withdrawn=None) | Q(accepted__isnull=False),
                name="contribution_withdrawn_once_accepted",
            ),
        ]

    def __str__(self) -> str:
        return f"contribution {self.pk} of {self.contributor}"

    def get_absolute_url(self) -> str:
        return reverse("contribution", args=[self.pk])

    @property
    def is_accepted(self) -> bool:
        """Return whether its runs may decide what comes of claims."""
        return self.accepted is not None and self.withdrawn is None

    @property
    def in_words(self) -> str:
        """Return whose runs these are, as it stands beside each of their numbers."""
        when = format_date(self.created, "j F Y")
        return f"contributed by {self.contributor} on {when}; not measured by this site"


class Run(models.Model):
    """One run of a study: asked for by a person, carried out by a worker's child process.

    The row is the truth about the run. `claim` names the worker's hold on it: only who knows it
    may write the run's events and its end. `cancel_asked` is when somebody asked for its end: a
    wish that stays, whatever happens to the run until its worker fulfils it.
    A reference run ships with the project, belongs to nobody and has a `reference` name. One of a
    `contribution` was made elsewhere, and came here in a file.
    `sweep` has the runs that were asked for together with this one; most runs are of none.
    """

    study = models.TextField()
    preset = models.TextField()
    parameters = models.JSONField()
    seed = models.PositiveBigIntegerField(default=0)
    device = models.TextField(choices=Device, default=Device.CPU)
    model = models.TextField(blank=True, help_text="Name of an offered model; none: the bundled")
    state = models.TextField(choices=State, default=State.QUEUED)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="runs"
    )
    reference = models.SlugField(unique=True, null=True, blank=True)
    contribution = models.ForeignKey(
        Contribution, models.CASCADE, null=True, blank=True, related_name="runs"
    )
    sweep = models.ForeignKey(Sweep, models.SET_NULL, null=True, blank=True, related_name="runs")
    note = models.CharField(max_length=LONGEST_NOTE, blank=True)
    tags = ArrayField(
        models.CharField(max_length=LONGEST_TAG), size=MOST_TAGS, default=list, blank=True
    )
    created = models.DateTimeField()
    started = models.DateTimeField(null=True, blank=True)
    finished = models.DateTimeField(null=True, blank=True)
    cancel_asked = models.DateTimeField(
        null=True, blank=True, help_text="When its end was asked for; it may still be running"
    )

    claim = models.UUIDField(null=True, blank=True, default=None)
    worker = models.TextField(blank=True)
    heartbeat = models.DateTimeField(null=True, blank=True)
    done = models.FloatField(default=0)
    stage = models.TextField(blank=True)
    step = models.TextField(blank=True)

    hardware = models.TextField(blank=True)
    environment = models.JSONField(default=dict, blank=True)
    series = models.JSONField(default=list, blank=True)
    verdict = models.TextField(blank=True)
    error = models.TextField(blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-created", "-id"]
        indexes = [
            models.Index(fields=["study", "-created"], name="run_study_created"),
            models.Index(
                fields=["created"],
                condition=Q(state__in=UNFINISHED),
                name="run_unfinished",
            ),
            GinIndex(fields=["tags"], name="run_tags"),
        ]
        constraints = [
            one_of("state", State.values, name="run_state_known"),
            one_of("device", Device.values, name="run_device_known"),
            models.CheckConstraint(
                condition=Q(state__in=UNFINISHED, finished=None)
                | (~Q(state__in=UNFINISHED) & Q(finished__isnull=False)),
                name="run_finished_when_over",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.RUNNING)
                | Q(claim__isnull=False, heartbeat__isnull=False, started__isnull=False),
                name="run_active_is_claimed",
            ),
            models.CheckConstraint(
                condition=Q(reference=None) | Q(owner=None, state=State.SUCCEEDED),
                name="run_reference_is_nobodys",
            ),
            models.CheckConstraint(
                condition=Q(contribution=None)
                | Q(reference=None, owner=None, sweep=None, state=State.SUCCEEDED),
                name="run_contributed_is_nobodys",
            ),
            models.UniqueConstraint(
                fields=["study", "preset", "seed", "hardware", "started", "finished"],
                condition=Q(contribution__isnull=False),
                name="run_contributed_once",
            ),
            models.CheckConstraint(
                condition=~Q(state=State.SUCCEEDED) | Q(cancel_asked=None),
                name="run_cancelled_does_not_succeed",
            ),
            models.CheckConstraint(condition=Q(done__gte=0, done__lte=1), name="run_done_share"),
            models.CheckConstraint(
                condition=Q(reference=None) | Q(sweep=None), name="run_reference_in_no_sweep"
            ),
            models.UniqueConstraint(
                fields=["sweep", "parameters"],
                condition=Q(sweep__isnull=False),
                name="run_value_once_per_sweep",
            ),
            # PostgreSQL itself does not keep the size of an array.
            models.CheckConstraint(condition=Q(tags__len__lte=MOST_TAGS), name="run_tags_few"),
        ]

    def __str__(self) -> str:
        return f"{self.study} run {self.pk}, {self.state}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.pk])

    @property
    def definition(self) -> Study | None:
        """Return the study's declaration, or None when the catalogue no longer has it."""
        return STUDIES.get(self.study)

    @property
    def origin(self) -> Origin:
        """Return where the run was made."""
        if self.reference is not None:
            return Origin.REFERENCE
        return Origin.HERE if self.contribution_id is None else Origin.CONTRIBUTED

    @property
    def made_here(self) -> bool:
        """Return whether a worker of this site carries it out, and tells its steps and its log."""
        return self.origin == Origin.HERE

    @property
    def over(self) -> bool:
        """Return whether the run has ended, one way or another."""
        return self.state not in UNFINISHED

    @property
    def shown_state(self) -> str:
        """Return the state as pages show it: "cancelling" while its worker is to end the run."""
        wished = self.state == State.RUNNING and self.cancel_asked is not None
        return "cancelling" if wished else self.state

    @property
    def swept_value(self) -> Any:
        """Return the value of the parameter in which the runs of its sweep differ; else None."""
        return self.parameters.get(self.sweep.parameter) if self.sweep else None

    @property
    def preset_values(self) -> dict[str, Any]:
        """Return the parameters of the run's preset; none if it is no longer in the catalogue."""
        study = self.definition
        if study is None or self.preset not in study.presets:
            return {}
        return study.check(self.preset, {}).model_dump(mode="json")

    @property
    def changed(self) -> dict[str, Any]:
        """Return the parameters in which the run differs from its preset, in the study's order.

        None if the preset is not known; one that the study no longer knows is among them.
        """
        usual, own = self.preset_values, self.parameters
        differing = {name: own[name] for name in usual if name in own and own[name] != usual[name]}
        unknown = sorted(own.keys() - usual.keys()) if usual else []
        return differing | {name: own[name] for name in unknown}

    @property
    def label(self) -> str:
        """Return whose run it is and, for a reference run, on what kind of machine it was made."""
        if self.reference is None:
            return f"run {self.pk}" if self.made_here else f"contributed run {self.pk}"
        return f"reference run, {Environment(**self.environment).hardware_class}"

    @property
    def caution(self) -> str:
        """Return what a reader must know before taking the run's numbers as findings, or ""."""
        load, cores = self.environment.get("load") or 0, self.environment.get("cores") or 1
        busy = (
            f"The machine was busy when the run began (load {load:.1f} on {cores} cores), so its"
            " times may be too long."
        )
        said = {TESTS_ONLY: self.preset == SMOKE, busy: load > cores * BUSY}
        return " ".join(sentence for sentence, holds in said.items() if holds)

    @property
    def commit(self) -> str | None:
        """Return the commit of the sources that the run was made with, where it is known."""
        return self.environment.get("commit")

    @property
    def needs(self) -> Needs:
        """Return what the run needs of a machine; at least a GPU where it is to run on one."""
        study = self.definition
        if study is None:
            return Needs()
        needs = study.needs(study.check(self.preset, self.parameters))
        return replace(needs, gpus=max(1, needs.gpus)) if self.device == Device.CUDA else needs

    @property
    def result(self) -> Result:
        """Return the result of a run that succeeded."""
        return Result(
            study=self.study,
            parameters=self.parameters,
            seed=self.seed,
            environment=self.environment,
            measurements=[row.as_result() for row in self.measurements.all()],
            series=self.series,
            verdict=self.verdict,
        )

    def keep_environment(self, environment: Environment) -> None:
        """Take over, without saving, what the run's process said of its machine."""
        self.environment = environment.model_dump(mode="json", exclude_none=True)
        self.hardware = environment.hardware

    def take_over(self, result: Result) -> list["Measurement"]:
        """Take over the result without saving anything; return its measurements."""
        self.keep_environment(result.environment)
        self.series = [curve.model_dump(mode="json") for curve in result.series]
        self.verdict, self.done, self.stage, self.step = result.verdict, 1, "", ""
        return [Measurement(run=self, **measured.model_dump()) for measured in result.measurements]

    def keep_result(self, result: Result) -> None:
        """Store the result with its measurements and outcomes; the caller's transaction holds all.

        The run's state is the caller's to set.
        """
        measurements = self.take_over(result)
        self.save()
        Measurement.objects.bulk_create(measurements)
        self.keep_outcomes(result)

    def keep_outcomes(self, result: Result) -> None:
        """Replace what the run found of claims, by the rules that its study implements."""
        outcomes.keep([self.findings(result)])

    def findings(self, result: Result) -> tuple[outcomes.Judged, list[outcomes.Finding]]:
        """Return what the run is to claims, and what its result says of each."""
        judged = self.definition.judge(result) if self.definition else {}
        claims = [
            outcomes.Finding(
                claim,
                Status(found.status),
                found.reason,
                tuple(outcomes.Number(n.name, n.value, n.unit, n.claimed) for n in found.numbers),
            )
            for claim, found in judged.items()
        ]
        hardware = result.environment.hardware_class
        return outcomes.Judged(self.pk, self.study, hardware, **self.weight), claims

    @property
    def weight(self) -> dict[str, Any]:
        """Return what the run's outcomes hold of it beside what they found."""
        return {
            "rank": self.rank,
            "shipped": self.reference is not None,
            "accepted": self.accepted,
            "counts": self.counts,
        }

    @property
    def accepted(self) -> bool | None:
        """Return of a contributed run whether it was accepted; None of any other."""
        return self.contribution.is_accepted if self.contribution else None

    @property
    def counts(self) -> bool:
        """Return whether the run may stand for a claim: an unmodified preset, and not a test.

        The rules were written for the bundled model. A contributed run needs to be accepted too.
        """
        measures = self.preset != SMOKE and not self.model and self.accepted is not False
        return measures and bool(self.preset_values) and not self.changed

    @property
    def rank(self) -> int:
        """Return which of several runs stands for a claim: that of the preset that comes last.

        The presets are in the order of what they measure, and at the end is what the rules ask for.
        """
        order = [*(name for name in PRESETS if name != CLAIMS), CLAIMS]
        return order.index(self.preset) if self.preset in order else 0


class RunEvent(models.Model):
    """One thing that the run's process said, in the order in which it was said."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.TextField(choices=EventKind)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["run", "id"], name="event_of_run")]
        constraints = [one_of("kind", EventKind.values, name="event_kind_known")]

    def __str__(self) -> str:
        return f"{self.kind} of run {self.run_id}"


class Measurement(models.Model):
    """The median of `n` values of one metric of one variant, as the finished run reported it."""

    run = models.ForeignKey(Run, models.CASCADE, related_name="measurements")
    metric = models.TextField()
    variant = models.TextField()
    settings = models.JSONField(default=dict, blank=True)
    value = models.FloatField()
    unit = models.TextField(blank=True)
    n = models.PositiveIntegerField()
    spread = models.FloatField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "metric", "variant", "settings"], name="measurement_once_per_run"
            ),
            # To PostgreSQL NaN is greater than every number, so the upper bound excludes it.
            models.CheckConstraint(
                condition=Q(value__gt=float("-inf"), value__lt=float("inf")),
                name="measurement_value_finite",
            ),
            models.CheckConstraint(condition=Q(n__gte=1), name="measurement_of_something"),
            models.CheckConstraint(
                condition=Q(spread=None) | Q(spread__gte=0), name="measurement_spread_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.metric}, {self.label}: {self.value} {self.unit}".rstrip()

    @property
    def label(self) -> str:
        """Return the variant with its settings in words."""
        return ", ".join(filter(None, (self.variant, self.conditions)))

    @property
    def conditions(self) -> str:
        """Return the settings in words, as values alone if the catalogue has no such study."""
        study = self.run.definition
        if study is None:
            return ", ".join(map(str, self.settings.values()))
        return study.conditions(self.settings)

    def as_result(self) -> result.MeasuredValue:
        """Return the measurement as it stands in the run's result."""
        fields = result.MeasuredValue.model_fields
        return result.MeasuredValue(**{name: getattr(self, name) for name in fields})


class Worker(models.Model):
    """A worker's process. It writes its row with every sign of life and removes it when it stops.

    `machine` is what it offers to runs, see `casestudies.lab.machine`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.TextField()
    devices = ArrayField(models.TextField(choices=Device))
    machine = models.JSONField(default=dict)
    started = models.DateTimeField()
    heartbeat = models.DateTimeField()

    objects = WorkerQuerySet.as_manager()

    class Meta:
        ordering = ["started", "pk"]

    def __str__(self) -> str:
        return self.name

    @property
    def offer(self) -> Machine:
        """Return the machine that it runs on."""
        return Machine.of(self.machine)
