"""Asking for a sweep: runs that differ in one parameter, all of them or none."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from casestudies.lab.contract import InvalidParameter
from casestudies.models import Run, Sweep
from casestudies.runs.starting import Request, end, queue

FEWEST_VALUES, MOST_VALUES = 2, 12


class InvalidSweep(ValueError):
    """The values of a sweep are too many, too few, or wrong; `reasons` has a sentence for each."""

    def __init__(self, *reasons: str) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = list(reasons)


@dataclass(frozen=True)
class SweepRequest:
    """What a person asks for: a run for each value of the parameter, checked by the study."""

    parameter: str
    runs: Sequence[Request]
    note: str = ""

    @classmethod
    def over(
        cls, one: Request, parameter: str, values: Sequence[Any], *, strict: bool = False
    ) -> "SweepRequest":
        """Return the request for runs like `one`, with each of the values for the parameter.

        Its tags are those of each run, its note is the sweep's. Values may be strings, as a form
        has them, unless `strict`. Raises InvalidSweep, which names each value that is wrong.
        """
        if not FEWEST_VALUES <= len(values) <= MOST_VALUES:
            raise InvalidSweep(
                f"A sweep has {FEWEST_VALUES} to {MOST_VALUES} values, not {len(values):,}."
            )
        runs: list[Request] = []
        reasons: list[str] = []
        for value in values:
            try:
                run = _with_value(one, parameter, value, strict=strict)
            except InvalidParameter as error:
                reasons.append(f"{error.reason}.")
                continue
            if run in runs:
                reasons.append(f"{run.parameters[parameter]!r} stands twice.")
            runs.append(run)
        if reasons:
            raise InvalidSweep(*dict.fromkeys(reasons))
        return cls(parameter, runs, one.note)


def _with_value(one: Request, parameter: str, value: Any, *, strict: bool) -> Request:
    given = {**one.parameters, parameter: value}
    parameters = one.study.check(one.preset, given, strict=strict).model_dump(mode="json")
    return replace(one, parameters=parameters, note="")


def start(owner: User, request: SweepRequest) -> Sweep:
    """Queue the runs of the sweep for `owner`, all or none, and return the sweep.

    Raises TooManyWaiting, where the runs do not all find a place, or NoMachine.
    """
    one = request.runs[0]
    with transaction.atomic():
        sweep = Sweep.objects.create(
            study=one.study.slug,
            preset=one.preset,
            parameter=request.parameter,
            owner=owner,
            created=timezone.now(),
            note=request.note,
        )
        queue(owner, [asked.as_run(owner, sweep) for asked in request.runs])
    return sweep


def cancel_all(sweep: Sweep) -> int:
    """Ask for the end of the runs of the sweep that have not ended; return how many these were."""
    return end(Run.objects.filter(sweep=sweep))
