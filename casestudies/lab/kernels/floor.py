"""The least that a computation costs a device, to hold a kernel's time against."""

from dataclasses import dataclass

from casestudies.lab.measure.rounds import bfloat16_operations_a_second, copied_bytes_a_second


@dataclass(frozen=True)
class Floor:
    """Bytes that must be read or written, each once, and operations (a multiply-add is two)."""

    bytes: int
    operations: int

    def __add__(self, other: "Floor") -> "Floor":
        return Floor(self.bytes + other.bytes, self.operations + other.operations)

    def share_of_copying(self, seconds: float, device: str) -> float:
        """Return the time in which the device copies as many bytes, as a share of the seconds."""
        return self.bytes / copied_bytes_a_second(device) / seconds

    def share_of_multiplying(self, seconds: float, device: str) -> float:
        """Return the time of as many operations in bfloat16 products, as a share of the seconds."""
        return self.operations / bfloat16_operations_a_second(device) / seconds
