"""The cost model: every equation that studies and pages read, with its source and its limits.

Plain Python, so that the web process may load it. `EQUATIONS` holds all of them, by subject.
"""

from types import ModuleType

from casestudies.lab.equations import (
    activations,
    communication,
    duration,
    experts,
    inference_memory,
    operations,
    parameters,
    pipeline,
    speculative,
    training_memory,
)
from casestudies.lab.equations.equation import Equation

SUBJECTS: tuple[ModuleType, ...] = (
    parameters,
    experts,
    operations,
    training_memory,
    activations,
    inference_memory,
    duration,
    communication,
    pipeline,
    speculative,
)
EQUATIONS: tuple[Equation[...], ...] = tuple(
    found
    for subject in SUBJECTS
    for found in vars(subject).values()
    if isinstance(found, Equation) and found.function.__module__ == subject.__name__
)
