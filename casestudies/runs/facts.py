"""What a run was set to and where it ran, as rows to read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst

from casestudies.lab.machine import GIB
from casestudies.models import Run

SHOWN_FIRST = (
    *("processor", "instructions", "cores", "threads", "memory_bytes"),
    *("gpu", "device", "precision", "tf32"),
    *("energy", "model", "text", "commit", "python", "libraries", "system"),
)
NAMES = {
    "gpu": "GPU",
    "tf32": "TF32 in place of float32",
    "memory_bytes": "memory",
    "gpu_joules": "whole GPU (NVML)",
    "processor_joules": "all processors (RAPL)",
}
UNITS = {"joules": "J", "mhz": "MHz", "watts": "W"}  # which end a name


@dataclass(frozen=True)
class ParameterRow:
    """One parameter of a run beside its preset's; `usual` is None if the preset has none."""

    name: str
    value: Any
    unit: str
    usual: Any
    differs: bool
    help: str

    @property
    def label(self) -> str:
        return capfirst(self.name.replace("_", " "))

    @property
    def shown(self) -> str:
        return _in_words(self.name, self.value)

    @property
    def usually(self) -> str:
        return "none" if self.usual is None else _in_words(self.name, self.usual)


def parameters(run: Run) -> Iterator[ParameterRow]:
    """Yield the run's parameters, in the study's order if it is known."""
    study = run.definition
    known = study.schemas if study else {}
    usual, changed = run.preset_values, run.changed
    # The database keeps no order of keys.
    unknown = sorted(run.parameters.keys() - known.keys())
    for name in [*(n for n in known if n in run.parameters), *unknown]:
        schema = known.get(name, {})
        unit, meaning = schema.get("unit", ""), schema.get("description", "")
        yield ParameterRow(
            name, run.parameters[name], unit, usual.get(name), name in changed, meaning
        )


def environment(run: Run) -> Iterator[tuple[str, str]]:
    """Yield name and value of what the run's process said of its machine and its versions."""
    facts = run.environment
    for name in [*(n for n in SHOWN_FIRST if n in facts), *sorted(facts.keys() - set(SHOWN_FIRST))]:
        if facts[name] is not None or name != "gpu":  # a run on the CPU used none
            yield _named(name), _in_words(name, facts[name])


def _named(name: str) -> str:
    quantity, _, unit = name.rpartition("_")
    return NAMES.get(name, (quantity if unit in UNITS else name).replace("_", " "))


def _in_words(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_named(key)} {_in_words(key, item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none of those that matter"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / GIB:.1f} GiB"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and (unit := UNITS.get(name.rpartition("_")[2])):
        return f"{value:,.0f} {unit}"
    return "not reported" if value is None else str(value)
