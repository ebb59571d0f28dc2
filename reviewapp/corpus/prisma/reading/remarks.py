"""What is said about a CSV file: what was assumed in reading it, or why it cannot be used."""

from typing import NamedTuple


class Remark(NamedTuple):
    """One sentence about a file, with its line and the name of the row where these are known."""

    text: str
    line: int | None = None
    row: str = ""

    def __str__(self) -> str:
        row = short(self.row)
        if self.line is None:
            return f"{row}: {self.text}" if row else self.text
        return f"line {self.line}{f' ({row})' if row else ''}: {self.text}"


class PrismaCsvError(ValueError):
    """The file cannot be used as it is; `remarks` has one for each cause."""

    def __init__(self, *remarks: Remark) -> None:
        super().__init__("\n".join(map(str, remarks)))
        self.remarks = remarks

    @property
    def problems(self) -> list[str]:
        """The causes in words, each with its line."""
        return [str(remark) for remark in self.remarks]


def short(text: str) -> str:
    """The text, cut to 40 characters."""
    return text if len(text) <= 40 else text[:39] + "…"
