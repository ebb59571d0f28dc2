"""The least that a computation costs a device, to hold a kernel's time against."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Floor:
    """Bytes that must be read or written, each once, and operations (a multiply-add is two)."""

    bytes: int
    operations: int

    def __add__(self, other: "Floor") -> "Floor":
        return Floor(self.bytes + other.bytes, self.operations + other.operations)

    def seconds(self, bytes_a_second: float, operations_a_second: float) -> float:
        """Return the least time of a device that moves and computes so much, both at once."""
        return max(self.bytes / bytes_a_second, self.operations / operations_a_second)
