"""Studies, runs, sweeps and measurements in the API; starting, cancelling, annotating runs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from django import forms
from django.contrib.auth.models import User
from django.db.models import Model, Prefetch, QuerySet
from django.http import Http404
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.permissions import SAFE_METHODS, BasePermission, IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request as HttpRequest
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from casestudies.choices import Device, State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import InvalidParameter, Study
from casestudies.models import LONGEST_TAG, Measurement, Run, Sweep
from casestudies.permissions import may_annotate, may_cancel, may_manage, may_start
from casestudies.runs.annotating import annotate, as_kept
from casestudies.runs.starting import NoMachine, Request, TooManyWaiting, cancel, start
from casestudies.runs.sweeping import InvalidSweep, SweepRequest, cancel_all
from casestudies.runs.sweeping import start as start_sweep
from casestudies.serializers import (
    AnnotationSerializer,
    MeasurementSerializer,
    NewRunSerializer,
    NewSweepSerializer,
    RunDetailSerializer,
    RunSerializer,
    StudyDetailSerializer,
    StudySerializer,
    SweepSerializer,
)
from reviewapp.limits.throttles import ByScope
from reviewapp.rest import exceptions
from reviewapp.rest.endpoint import Endpoint
from reviewapp.rest.listing import Listing, json_keys
from reviewapp.rest.pages import OF_EVERY_LIST
from reviewapp.ui.fields import WholeNumberField
from taxonomy.choices import Origin

LARGEST_ID = 2**63 - 1

Row = TypeVar("Row", bound=Model)


class Studies(Endpoint, ListAPIView[Any]):
    """The case studies: what each measures, its presets and parameters.

    `parameters` is the JSON schema of what may be set, with units and bounds.
    """

    serializer_class = StudySerializer
    other_keys = OF_EVERY_LIST

    def get_queryset(self) -> Any:
        """Return the catalogue."""
        return list(STUDIES.values())


class OneStudy(Endpoint, RetrieveAPIView[Any]):
    """One case study, with the claims that it answers and the outcome of each.

    The outcome is supported, direction agrees, not reproduced, not comparable or not run; `rule`
    says when it is which, and `rule_blind` whether it was written before the outcome was known.
    """

    serializer_class = StudyDetailSerializer
    examples = {"GET": "sparsegpt/"}

    def get_object(self) -> Study:
        """Return the study; raise Http404 when the catalogue has none of that slug."""
        study = STUDIES.get(self.kwargs["slug"])
        if study is None:
            raise Http404("There is no such study.")
        return study


class RunFilterForm(forms.Form):
    """The keys that choose runs."""

    study = forms.SlugField(required=False, max_length=50, strip=False, help_text="Slug of a study")
    state = forms.MultipleChoiceField(
        required=False, choices=State.choices, help_text="Where the run stands, any of several"
    )
    reference = forms.ChoiceField(
        required=False,
        choices=[("yes", "yes"), ("no", "no")],
        help_text="Whether it ships with the site",
    )
    origin = forms.ChoiceField(
        required=False, choices=Origin.choices, help_text="Where it was made"
    )
    device = forms.ChoiceField(
        required=False, choices=Device.choices, help_text="What it was asked to run on"
    )
    hardware = forms.CharField(
        required=False,
        max_length=200,
        strip=False,
        help_text="Exactly as a run names its hardware",
    )
    tag = forms.CharField(
        required=False, max_length=LONGEST_TAG, strip=False, help_text="One of its tags"
    )
    sweep = WholeNumberField(
        required=False, min_value=1, max_value=LARGEST_ID, help_text="Number of its sweep"
    )


class MayStart(BasePermission):
    """Everybody reads; who writes needs the permission to start runs."""

    message = "This account may not start runs."

    def has_permission(self, request: HttpRequest, view: APIView) -> bool:
        """Return whether the request only reads, or its account may start runs."""
        return request.method in SAFE_METHODS or may_start(request.user)


class Starting(Listing[Row]):
    """A list to which those who may start runs add; its class says what is started."""

    permission_classes = [MayStart]
    throttle_scope = "start"

    def get_renderers(self) -> list[BaseRenderer]:
        """Return the formats: what starts is no list that could be CSV."""
        return super().get_renderers() if self._reads else [JSONRenderer()]

    def get_throttles(self) -> list[BaseThrottle]:
        """Return the limits: starting has one of its own, which runs and sweeps share."""
        return super().get_throttles() + ([] if self._reads else [ByScope()])

    @property
    def _reads(self) -> bool:
        return self.request.method in SAFE_METHODS


@contextmanager
def refusing() -> Iterator[None]:
    """Answer that the queue is full, or that no machine can carry a run out, as the API does."""
    try:
        yield
    except TooManyWaiting as error:
        raise exceptions.QueueFull(str(error)) from None
    except NoMachine as error:
        raise exceptions.Conflict(str(error)) from None


def located(what: str) -> OpenApiParameter:
    """Return the description of the header that leads to what was started."""
    return OpenApiParameter(
        "Location",
        {"type": "string", "format": "uri"},
        OpenApiParameter.HEADER,
        response=[201],
        description=what,
    )


class Runs(Starting[Run]):
    """Runs, newest first."""

    serializer_class = RunSerializer
    form = RunFilterForm
    file_name = "runs"
    examples = {
        "GET": "?study=sparsegpt&state=succeeded",
        "POST": '{"study": "sparsegpt", "preset": "quick", "parameters": {"sparsity": 0.6}}',
    }

    def found(self, chosen: dict[str, Any]) -> QuerySet[Run]:
        """Return the runs chosen."""
        Run.objects.mark_lost()
        runs = Run.objects.select_related("owner", "contribution").defer("series")
        keys = ("study", "device", "hardware", "sweep")
        runs = runs.filter(**{key: chosen[key] for key in keys if chosen[key]})
        if tag := as_kept(chosen["tag"]):
            runs = runs.tagged(tag)
        if chosen["state"]:
            runs = runs.filter(state__in=chosen["state"])
        if chosen["reference"]:
            runs = runs.filter(reference__isnull=chosen["reference"] == "no")
        if chosen["origin"]:
            runs = runs.from_origin(chosen["origin"])
        return runs

    def parts(self, rows: QuerySet[Run]) -> dict[str, list[str]]:
        """Return the parameters that the rows have."""
        return {"parameters": json_keys(rows, "parameters")}

    @extend_schema(
        request=NewRunSerializer,
        responses={201: RunSerializer, 409: None},
        parameters=[located("The address of the run")],
    )
    def post(self, request: HttpRequest) -> Response:
        """Start a run: put it in the queue.

        Takes the token of an account that may start runs. A parameter outside the study's schema
        is refused with its bounds. An account may have only a few runs waiting.
        """
        asked = NewRunSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with refusing():
            run = start(cast(User, request.user), _checked(asked.validated_data))
        address = request.build_absolute_uri(reverse("api-run", args=[run.pk]))
        return Response(self.get_serializer(run).data, 201, headers={"Location": address})


def _checked(asked: Mapping[str, Any]) -> Request:
    study, preset, device = STUDIES[asked["study"]], asked["preset"], Device(asked["device"])
    try:
        # In JSON a number is a number, and a text of digits is none.
        values = study.check(preset, asked["parameters"], strict=True).model_dump(mode="json")
        request = Request(
            study, preset, values, asked["seed"], device, asked["note"], asked["tags"]
        )
        return request.on(asked["model"])
    except InvalidParameter as error:
        problem: dict[str, Any] = {error.name: [error.reason]}
        own = error.name in ("preset", "model")
        raise ValidationError(problem if own else {"parameters": problem}) from None


class OneRun(Endpoint, RetrieveAPIView[Run]):
    """One run with its result: measurements, curves, environment and the command to repeat it."""

    serializer_class = RunDetailSerializer
    queryset = Run.objects.select_related("owner", "contribution").prefetch_related("measurements")
    examples = {"GET": "1/"}

    def get_object(self) -> Run:
        """Return the run as it stands now."""
        run = super().get_object()
        if run.state == State.RUNNING and Run.objects.mark_lost():
            run.refresh_from_db()
        return run


class CancelRun(Endpoint, GenericAPIView[Run]):
    """The end of a run that goes on."""

    serializer_class = RunSerializer
    queryset = Run.objects.select_related("owner", "contribution")
    permission_classes = [IsAuthenticated]
    examples = {"POST": ""}

    @extend_schema(request=None, responses={202: RunSerializer, 409: None})
    def post(self, request: HttpRequest, pk: int) -> Response:
        """Cancel a run: one's own, or any with the permission to change runs.

        A run that waits is cancelled at once, one that goes on within three seconds.
        """
        run = self.get_object()
        if not may_cancel(request.user, run):
            raise PermissionDenied("This account may not cancel this run.")
        if not cancel(run):
            raise exceptions.Conflict("The run has ended already.")
        return Response(self.get_serializer(self.get_object()).data, 202)


class AnnotateRun(Endpoint, GenericAPIView[Run]):
    """The note and the tags of a run."""

    serializer_class = RunSerializer
    queryset = Run.objects.select_related("owner", "contribution")
    permission_classes = [IsAuthenticated]
    examples = {"POST": '{"note": "With another text", "tags": ["for the report"]}'}

    @extend_schema(request=AnnotationSerializer, responses={200: RunSerializer})
    def post(self, request: HttpRequest, pk: int) -> Response:
        """Change the note and the tags of a run: one's own, or any with the permission.

        What is left out stays. Those of a reference run cannot be changed.
        """
        run = self.get_object()
        if not may_annotate(request.user, run):
            raise PermissionDenied("This account may not change this run.")
        asked = AnnotationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        annotate(run, **asked.validated_data)
        return Response(self.get_serializer(self.get_object()).data)


class SweepFilterForm(forms.Form):
    """The keys that choose sweeps."""

    study = forms.SlugField(required=False, max_length=50, strip=False, help_text="Slug of a study")


class Sweeps(Starting[Sweep]):
    """Sweeps, newest first: runs that were asked for together and differ in one parameter."""

    serializer_class = SweepSerializer
    form = SweepFilterForm
    file_name = "sweeps"
    examples = {
        "GET": "?study=sparsegpt",
        "POST": '{"study": "sparsegpt", "preset": "smoke", "vary": {"sparsity": [0.3, 0.5, 0.7]}}',
    }

    def found(self, chosen: dict[str, Any]) -> QuerySet[Sweep]:
        """Return the sweeps chosen."""
        Run.objects.mark_lost()
        return sweeps(**{key: value for key, value in chosen.items() if value})

    @extend_schema(
        request=NewSweepSerializer,
        responses={201: SweepSerializer, 409: None},
        parameters=[located("The address of the sweep")],
    )
    def post(self, request: HttpRequest) -> Response:
        """Start a sweep: put a run for each value of one parameter in the queue, or none.

        Takes the token of an account that may start runs. Each value outside the study's schema
        is named. All runs count for how many an account may have waiting.
        """
        asked = NewSweepSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        with refusing():
            sweep = start_sweep(cast(User, request.user), _checked_sweep(asked.validated_data))
        address = request.build_absolute_uri(reverse("api-sweep", args=[sweep.pk]))
        stored = sweeps().get(pk=sweep.pk)
        return Response(self.get_serializer(stored).data, 201, headers={"Location": address})


def sweeps(**chosen: Any) -> QuerySet[Sweep]:
    """Return the sweeps with all that the API says of them, in a constant number of queries."""
    runs = Prefetch("runs", Run.objects.only("sweep", "parameters").order_by("pk"))
    return Sweep.objects.filter(**chosen).with_progress().prefetch_related(runs)


def _checked_sweep(asked: dict[str, Any]) -> SweepRequest:
    [(parameter, values)] = asked["vary"].items()
    run = _checked(asked)
    if parameter not in run.study.schemas:
        raise ValidationError({"vary": {parameter: ["The study has no such parameter."]}})
    try:
        return SweepRequest.over(run, parameter, values, strict=True)
    except InvalidSweep as error:
        raise ValidationError({"vary": {parameter: error.reasons}}) from None


class OneSweep(Endpoint, RetrieveAPIView[Sweep]):
    """One sweep; what its runs measured stands with each of them."""

    serializer_class = SweepSerializer
    examples = {"GET": "1/"}

    def get_queryset(self) -> QuerySet[Sweep]:
        """Return the sweeps as they stand now."""
        Run.objects.mark_lost()
        return sweeps()


class CancelSweep(Endpoint, GenericAPIView[Sweep]):
    """The end of the runs of a sweep that go on or wait."""

    serializer_class = SweepSerializer
    permission_classes = [IsAuthenticated]
    examples = {"POST": ""}

    def get_queryset(self) -> QuerySet[Sweep]:
        """Return the sweeps as they stand now."""
        return sweeps()

    @extend_schema(request=None, responses={202: SweepSerializer, 409: None})
    def post(self, request: HttpRequest, pk: int) -> Response:
        """Cancel all runs of a sweep that have not ended: one's own, or any with the permission.

        Those that wait are cancelled at once, one that goes on within three seconds.
        """
        sweep = self.get_object()
        if not may_manage(request.user, sweep):
            raise PermissionDenied("This account may not cancel this sweep.")
        if not cancel_all(sweep):
            raise exceptions.Conflict("All runs of the sweep have ended already.")
        return Response(self.get_serializer(self.get_object()).data, 202)


class MeasurementForm(forms.Form):
    """The keys that choose measurements."""

    study = forms.SlugField(required=False, max_length=50, strip=False, help_text="Slug of a study")
    metric = forms.CharField(
        required=False, max_length=100, strip=False, help_text="Name of a study's metric"
    )
    variant = forms.CharField(
        required=False, max_length=100, strip=False, help_text="What was measured"
    )
    run = WholeNumberField(
        required=False, min_value=1, max_value=LARGEST_ID, help_text="Number of a run"
    )


class Measurements(Listing[Measurement]):
    """Measurements of the runs that succeeded, those of the newest run first.

    Each names its run with parameters, seed, hardware, commit and environment; in CSV each of these
    is a column of its own. Only what was measured alike can be compared.
    """

    serializer_class = MeasurementSerializer
    form = MeasurementForm
    file_name = "measurements"
    examples = {"GET": "?study=sparsegpt&metric=perplexity&format=csv"}

    def found(self, chosen: dict[str, Any]) -> QuerySet[Measurement]:
        """Return the measurements chosen, each with its run."""
        keys = {"study": "run__study", "metric": "metric", "variant": "variant", "run": "run"}
        same = {column: chosen[key] for key, column in keys.items() if chosen[key]}
        found = Measurement.objects.filter(**same).select_related("run")
        return found.defer("run__series").order_by("-run__finished", "-run", "id")

    def parts(self, rows: QuerySet[Measurement]) -> dict[str, list[str]]:
        """Return the settings, parameters and facts of the machine that the rows have."""
        return {
            "settings": json_keys(rows, "settings"),
            "parameters": json_keys(rows, "run__parameters"),
            "environment": json_keys(rows, "run__environment"),
        }
