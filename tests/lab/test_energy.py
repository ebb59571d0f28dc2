"""Energy by the counters of the machine, and what is said of its graphics processor."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from casestudies.lab.measure.energy import Meter
from casestudies.lab.measure.environment import said_of_gpu
from casestudies.lab.result import Environment

RANGE = 65_532_610_987  # microjoules, as many processors have it


def count(domain: Path, microjoules: int) -> None:
    (domain / "energy_uj").write_text(f"{microjoules}\n")


def domain(folder: Path, number: str, name: str, microjoules: int) -> Path:
    """Return a domain of RAPL as the kernel shows it."""
    made = folder / f"intel-rapl:{number}"
    made.mkdir()
    (made / "name").write_text(f"{name}\n")
    (made / "max_energy_range_uj").write_text(f"{RANGE}\n")
    count(made, microjoules)
    return made


def test_all_packages_are_counted_and_their_parts_are_not(tmp_path: Path) -> None:
    first, second = (domain(tmp_path, f"{n}", f"package-{n}", 5_000_000) for n in (0, 1))
    parts = [domain(tmp_path, "0:0", "core", 0), domain(tmp_path, "2", "psys", 0)]
    with Meter("cpu", tmp_path) as meter:
        count(first, 12_000_000)
        count(second, 5_500_000)
        for part in parts:
            count(part, 100_000_000)
    assert meter.energy
    assert meter.energy.processor_joules == pytest.approx(7.5)
    assert meter.energy.model_dump() == {"processor_joules": pytest.approx(7.5)}


def test_a_gpu_is_not_counted_without_its_library(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with Meter("cuda", tmp_path) as meter:
        pass
    assert meter.energy is None


def test_a_counter_that_begins_anew_goes_on(tmp_path: Path) -> None:
    package = domain(tmp_path, "0", "package-0", RANGE - 1_000_000)
    with Meter("cpu", tmp_path) as meter:
        count(package, 2_000_000)
    assert meter.energy
    assert meter.energy.processor_joules == pytest.approx(3)


def test_where_nothing_counts_nothing_is_said(tmp_path: Path) -> None:
    with Meter("cpu", tmp_path) as meter:
        pass
    assert meter.energy is None
    (domain(tmp_path, "0", "package-0", 0) / "energy_uj").write_text("not a number")
    with Meter("cpu", tmp_path) as meter:
        pass
    assert meter.energy is None
    said = Environment(
        device="cpu", cores=2, threads=2, memory_bytes=1, python="3.12", libraries={}
    )
    assert "energy" not in said.model_dump()


def test_a_counter_that_is_lost_meanwhile_says_nothing(tmp_path: Path) -> None:
    package = domain(tmp_path, "0", "package-0", 0)
    with Meter("cpu", tmp_path) as meter:
        (package / "energy_uj").unlink()
    assert meter.energy is None


class CardIsLost(Exception):
    """What NVML raises."""


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int | Exception]:
    """Return the millijoules that a card's counter is to say, one after another."""
    to_say: list[int | Exception] = [0]  # it is tried once before a run

    def say(card: str) -> int:
        said = to_say.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    nvml = SimpleNamespace(
        NVMLError=CardIsLost,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=str,
        nvmlDeviceGetTotalEnergyConsumption=say,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    card = SimpleNamespace(uuid="1b2c-01")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    return to_say


@pytest.mark.parametrize(
    ("said", "joules"),
    [
        ([3000, 5500], 2.5),
        ([3000, CardIsLost("GPU is lost")], None),
        ([CardIsLost("GPU is lost"), 3000], None),
        ([3000, 1000], None),  # of a driver that was loaded anew
    ],
)
def test_a_card_whose_counter_is_lost_costs_the_run_nothing_else(
    tmp_path: Path,
    counted: list[int | Exception],
    said: list[int | Exception],
    joules: float | None,
) -> None:
    counted += said
    with Meter("cuda", tmp_path) as meter:
        pass
    assert (meter.energy.gpu_joules if meter.energy else None) == joules


def test_the_card_that_is_used_is_told_from_its_neighbours() -> None:
    table = (
        "GPU-1b2c-01, 580.82, 345, 1593, 350.00\n"
        "GPU-1b2c-02, 580.82, 1980, 2619, [N/A]\n"
    )  # fmt: skip
    assert said_of_gpu(table, "1b2c-02") == {
        "driver": "580.82",
        "clock_mhz": 1980,
        "memory_clock_mhz": 2619,
        "power_limit_watts": None,
    }
    assert said_of_gpu(table, "")["clock_mhz"] == 345
    assert said_of_gpu("No devices were found\n", "1b2c-02") == {}
