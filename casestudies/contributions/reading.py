"""A file of records that somebody sent, read as what it is: the word of a stranger.

It holds one record as `casestudies.lab.records` makes them, or a list of several.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from django.utils import timezone
from pydantic import AwareDatetime, BeforeValidator, ValidationError
from pydantic_core import from_json

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import InvalidParameter, InvalidResult, Study
from casestudies.lab.result import Form, Name, Result
from casestudies.studies.reference_runs import RecordedRun

MOST_BYTES = 2_000_000  # the web server takes little more of any request
MOST_RECORDS = 200
MOST_FAULTS = 20  # that are told
LONGEST_FAULT = 300
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)  # there was no lab before

# What steers a terminal, turns a line of a page around, or makes two names look alike.
HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


class InvalidFile(ValueError):
    """A file does not hold records of runs; `faults` has a line for each thing that is wrong."""

    def __init__(self, faults: Iterable[str]) -> None:
        every = [_line(fault) for fault in faults]
        self.faults = every[:MOST_FAULTS]
        if more := len(every) - MOST_FAULTS:
            self.faults += [f"and {more} more"] if more > 0 else []
        super().__init__("\n".join(self.faults))


def _text(value: Any) -> Any:
    """Return the value if it is a text: a number is no date."""
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text)]


class _Record(Form):
    preset: Name
    started: Moment
    finished: Moment
    result: dict[str, Any]


def read(name: str, content: bytes) -> list[RecordedRun]:
    """Return the runs of the file's records; raise InvalidFile, which names file, record, field."""
    if len(content) > MOST_BYTES:
        raise InvalidFile([f"{name}: it has more than {MOST_BYTES:,} bytes"])
    try:
        document = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidFile([f"{name}: it is not JSON: {error}"]) from None
    records = document if isinstance(document, list) else [document]
    if not 1 <= len(records) <= MOST_RECORDS:
        raise InvalidFile([f"{name}: it has {len(records):,} records, not 1 to {MOST_RECORDS}"])
    faults, found = [], []
    for n, record in enumerate(records, 1):
        try:
            found.append(_read(record))
        except InvalidFile as error:
            faults += [f"{name}: record {n}: {fault}" for fault in error.faults]
    if faults:
        raise InvalidFile(faults)
    return found


def _read(document: Any) -> RecordedRun:
    if hidden := next(_hidden(document), None):
        raise InvalidFile([f"{hidden}: it has characters that are not shown"])
    try:
        record = _Record.model_validate(document)
    except ValidationError as error:
        raise InvalidFile(
            f"{'.'.join(map(str, one['loc'])) or 'the whole'}: {one['msg']}"
            for one in error.errors()
        ) from None
    study = STUDIES.get(str(record.result.get("study")))
    if study is None:
        raise InvalidFile([f"result.study: {record.result.get('study')!r} is no study"])
    try:
        result = study.read(record.result)
    except InvalidResult as error:
        told = f"result.{error}".replace("result.the whole", "result")
        raise InvalidFile([told]) from None
    if faults := [*_misplaced_in_time(record), *_undeclared(study, record.preset, result)]:
        raise InvalidFile(faults)
    return RecordedRun(
        record.preset, record.started.astimezone(UTC), record.finished.astimezone(UTC), result
    )


def _hidden(value: Any, place: str = "the whole") -> Iterator[str]:
    """Yield where a text, or the name of a field, has characters that are not to be seen."""
    if isinstance(value, str) and HIDDEN.search(value):
        yield place
    elif isinstance(value, list):
        for n, part in enumerate(value):
            yield from _hidden(part, f"{place}.{n}")
    elif isinstance(value, dict):
        for key, part in value.items():
            inside = key if place == "the whole" else f"{place}.{key}"
            yield from _hidden(key, inside)
            yield from _hidden(part, inside)


def _misplaced_in_time(record: _Record) -> Iterator[str]:
    if record.started < EARLIEST:
        yield f"started: {record.started} is before {EARLIEST:%Y}"
    if record.finished < record.started:
        yield f"finished: {record.finished} is before it started"
    if record.finished > timezone.now():
        yield f"finished: {record.finished} is in the future"


def _undeclared(study: Study, preset: str, result: Result) -> Iterator[str]:
    """Yield what the study does not declare: preset, parameters, device."""
    try:
        declared = study.check(preset, result.parameters, strict=True).model_dump(mode="json")
    except InvalidParameter as error:
        place = "preset" if error.name == "preset" else f"result.parameters.{error.name}"
        yield f"{place}: {error.reason}"
    else:
        missing = declared.keys() - result.parameters.keys()
        yield from (f"result.parameters.{name}: it is missing" for name in sorted(missing))
    environment = result.environment
    try:
        study.check_device(environment.device)
    except InvalidParameter as error:
        yield f"result.environment.device: {error.reason}"
    if (environment.device == "cuda") != (environment.gpu is not None):
        # The name of the hardware is the GPU's where there is one.
        yield f"result.environment.gpu: it does not go with the device {environment.device}"


def _line(fault: str) -> str:
    """Return the fault as one line that may be printed anywhere, without pydantic's own words."""
    shown = HIDDEN.sub("\ufffd", " ".join(fault.split())).replace("Value error, ", "")
    return shown if len(shown) <= LONGEST_FAULT else f"{shown[:LONGEST_FAULT]}…"
