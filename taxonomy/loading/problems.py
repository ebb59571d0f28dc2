"""What is wrong with fixture files, as `file:line: what`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import ValidationError

# Answers on which line a field stands: ("families", 0, "slug") -> 12.
LineOf = Callable[[tuple[int | str, ...]], int]


class FixtureError(Exception):
    """The folder's files cannot be loaded; `problems` has a line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass
class Problems:
    """Collects what is wrong, as `file:line: what`, and in which files."""

    found: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)

    def add(self, file: str, line: int, what: str) -> None:
        self.found.append(f"{file}:{line}: {what}")
        self.files.add(file)

    def add_invalid(self, file: str, line_of: LineOf, error: ValidationError) -> None:
        for problem in error.errors():
            place = ".".join(str(step) for step in problem["loc"])
            what = problem["msg"].removeprefix("Value error, ")
            shown = _shown(problem["input"])
            self.add(file, line_of(problem["loc"]), f"{place}: {what}{shown}")


def _shown(value: object) -> str:
    """Return the offending value in brackets when it is short and plain enough to help."""
    return f" (found {value!r:.80})" if isinstance(value, str | int | float) else ""
