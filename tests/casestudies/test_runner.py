"""How a run's process is kept, limited and ended, and how what it says is stored.

The process is a real one; only which program it runs is the test's.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from casestudies import run_command
from casestudies.choices import Device, State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.machine import Machine
from casestudies.models import Measurement, Run, Worker
from casestudies.querysets import SILENCE
from casestudies.runs import starting
from casestudies.worker import leases, loop, runner
from casestudies.worker.child import Child
from casestudies.worker.journal import Journal
from casestudies.worker.leases import Lease
from casestudies.worker.reconnecting import Unavailable
from taxonomy.choices import Status
from taxonomy.models import Outcome
from tests.casestudies.making import ENVIRONMENT, HERE, NOON, a_person, a_run
from tests.waiting import alive, wait_until

Program = Callable[..., None]
MEASURED = {
    "metric": "product speed",
    "variant": "sparse rows",
    "settings": {"tokens": 512},
    "value": 1.5,
    "unit": "x",
    "n": 3,
    "spread": 0.1,
}
CURVE = {"name": "perplexity by sparsity", "variant": "wanda", "settings": {}, "points": [[0, 1.5]]}
RESULT: dict[str, Any] = {
    "study": "sparsegpt",
    "parameters": STUDIES["sparsegpt"].check("quick", {}).model_dump(mode="json"),
    "seed": 0,
    "environment": ENVIRONMENT,
    "measurements": [MEASURED],
    "series": [CURVE],
    "verdict": "It is 1.5 times as fast.",
}
# What a page could not show: a character that the database refuses, a number that no float holds.
NUL = {**ENVIRONMENT, "text": {"name": "Example text", "sha256": "\0"}}
VAST = {**ENVIRONMENT, "memory_bytes": 10**400}
STARTED = {"event": "started", **{name: RESULT[name] for name in list(RESULT)[:4]}}


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return what sets the Python program that runs carry out."""

    def set_program(*arguments: str) -> None:
        monkeypatch.setattr(run_command, "arguments", lambda _: list(arguments))

    return set_program


def carried_out(**values: Any) -> Run:
    """Return a run of the program, from its claim to its end."""
    run = a_run(**values)
    assert async_to_sync(runner.work_once)(Device.CPU, HERE)
    run.refresh_from_db()
    return run


def code(*events: object) -> str:
    """Return a program that says these events, or these lines, and ends."""
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "\n".join(f"print({line!r}, flush=True)" for line in lines)


@pytest.mark.django_db
def test_a_result_is_kept_as_the_lab_wrote_it(program: Program) -> None:
    program("-c", code(STARTED, {"event": "result", "result": RESULT}))
    run = carried_out()
    assert (run.state, run.done, run.error) == (State.SUCCEEDED, 1, "")
    stored = run.result.model_dump(mode="json", exclude_none=True)
    assert stored == RESULT
    assert run.hardware == "Example Processor, 2 cores, 2 threads"


@pytest.mark.django_db
def test_a_rule_that_cannot_be_applied_does_not_cost_a_run_its_result(
    program: Program, review: None
) -> None:
    """The rule of claim 2 reads parameters that this result, of another version, lacks."""
    program("-c", code({"event": "result", "result": {**RESULT, "parameters": {}}}))
    run = carried_out(parameters={})
    assert run.state == State.SUCCEEDED
    outcome = Outcome.objects.get(run=run.pk, claim__position=2)
    assert outcome.status == Status.NOT_RUN
    assert outcome.reason.startswith("its rule cannot be applied to this run: ")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-c", "raise SystemExit('no such text')"), "no such text\nIts process ended with exit"),
        (("-c", code({"event": "failed", "error": "ValueError: x"}) + "\nexit(1)"), "ValueError:"),
        (("-c", "import os; os.kill(os.getpid(), 9)"), "signal 9, perhaps for want of memory"),
        (("-c", "pass"), "exit status 0"),
        (
            ("-c", code({"event": "result", "result": {**RESULT, "series": None}})),
            "not a result of this study: series: ",
        ),
        (
            ("-c", code({"event": "result", "result": {**RESULT, "measurements": [{"n": 0}]}})),
            "not a result of this study: measurements.0.metric: ",
        ),
        (
            ("-c", code(json.dumps({"event": "result", "result": RESULT}).replace("1.5", "1e999"))),
            "not a result of this study: measurements.0.value: ",
        ),
        (
            ("-c", code({"event": "result", "result": {**RESULT, "environment": []}})),
            "not a result of this study: environment: ",
        ),
        (
            ("-c", code({"event": "result", "result": {**RESULT, "study": "qmoe"}})),
            "not a result of this study: study: 'qmoe'",
        ),
        (
            ("-c", code({"event": "result", "result": {**RESULT, "seed": 1}})),
            "the result of other parameters or another seed",
        ),
        (
            ("-c", code({"event": "result", "result": RESULT | {"environment": NUL}})),
            "not a result of this study: environment.text.sha256: ",
        ),
        (
            ("-c", code({"event": "result", "result": RESULT | {"environment": VAST}})),
            "not a result of this study: environment.memory_bytes: ",
        ),
        (
            ("-c", "print('[' * 100_000); print('{' * 100_000)"),
            "exit status 0",
        ),
        (("-c", "print('x' * 2**26)"), "could not be carried out"),
    ],
)
def test_a_failure_keeps_its_reason_and_no_part_of_a_result(
    program: Program, arguments: tuple[str, ...], reason: str
) -> None:
    program(*arguments)
    run = carried_out()
    assert run.state == State.FAILED
    assert reason in run.error
    assert not Measurement.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("table", "taken"), [("measurement", "n < 3"), ("runevent", "kind = ''")])
def test_a_run_that_cannot_be_stored_has_failed_at_once_for_that_reason(
    program: Program, table: str, taken: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE casestudies_{table} ADD CONSTRAINT picky CHECK ({taken})")
    program("-c", code(STARTED, {"event": "result", "result": RESULT}))
    run = carried_out()
    assert run.state == State.FAILED
    assert run.error.startswith("The run could not be carried out: IntegrityError: ")
    assert "picky" in run.error
    assert not Measurement.objects.exists()


@pytest.mark.django_db
def test_what_the_database_cannot_hold_is_replaced_and_what_is_too_much_is_left_out(
    program: Program, settings: Settings
) -> None:
    settings.RUN_LOG_KIB = 10
    log = {"event": "log", "text": "nul \0"}
    half = '{"event": "log", "text": "\\ud800"}'
    flood = "for i in range(1000): print('line', i, flush=True)"
    last = code({"event": "result", "result": RESULT})
    program("-c", "\n".join([code("{", "[]", '{"event": 1}', "NaN", log, half), flood, last]))
    run = carried_out()
    assert run.state == State.SUCCEEDED
    said = [event.data["text"] for event in run.events.all()]
    assert said[:6] == ["{", "[]", '{"event": 1}', "NaN", "nul \ufffd", half]
    assert said[-1].startswith("The run has said more than 10 KiB")
    assert sum(map(len, said)) < 2 * 10 * 1024


@pytest.mark.django_db
def test_a_run_that_takes_too_long_or_too_much_memory_fails_alone(
    program: Program, settings: Settings
) -> None:
    program("-c", "import time; time.sleep(600)")
    settings.RUN_MINUTES = 0.01
    run = carried_out()
    assert run.state == State.TIMED_OUT
    assert "longer than the 0.01 minutes" in run.error
    settings.RUN_MINUTES = 1
    settings.RUN_MEMORY_GIB = 0.25
    program("-c", "import time; x = bytearray(2**29); time.sleep(600)")
    run = carried_out()
    assert run.state == State.FAILED
    assert "more memory than the 0.25 GiB" in run.error


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():
            await asyncio.sleep(0.02)


@pytest.mark.django_db
@pytest.mark.parametrize("ending", ["cancelled by its owner", "with its worker"])
def test_an_end_from_outside_ends_every_process_within_three_seconds(
    program: Program, tmp_path: Path, ending: str
) -> None:
    pids = tmp_path / "pids"
    program("-m", "tests.casestudies.stubborn", str(pids))
    run = a_run()

    async def scenario() -> float:
        working = asyncio.create_task(runner.work_once(Device.CPU, HERE))
        await until(sync_to_async(run.events.filter(kind="progress").exists))
        begun = time.monotonic()
        if ending == "with its worker":
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        else:
            assert await sync_to_async(starting.cancel)(run)
            await working
        return time.monotonic() - begun

    assert async_to_sync(scenario)() < 3
    assert not any(alive(int(pid)) for pid in pids.read_text().split())
    run.refresh_from_db()
    assert run.state == (State.LOST if ending == "with its worker" else State.CANCELLED)


def written_in(pids: Path) -> list[int]:
    """Return the three processes of `stubborn`, once it has written them to the file."""
    wait_until(lambda: pids.exists() and pids.read_text().count(" ") == 2)
    return [int(pid) for pid in pids.read_text().split()]


@pytest.mark.parametrize("killed", ["worker", "guard"])
def test_a_kill_of_what_stands_above_it_ends_every_process_of_a_run(
    tmp_path: Path, killed: str
) -> None:
    pids = tmp_path / "pids"
    start = f"Child.start(['-m', 'tests.casestudies.stubborn', {str(pids)!r}], {{}})"
    worker = (
        "import asyncio\n"
        "from casestudies.worker.child import Child\n"
        f"async def main():\n    await {start}\n    await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", worker]) as process:
        own, forked, daemon = written_in(pids)
        [guard] = psutil.Process(process.pid).children()
        guard.kill() if killed == "guard" else process.kill()
        try:
            wait_until(lambda: not alive(own))
            if killed == "worker":
                wait_until(lambda: not any(map(alive, (guard.pid, forked, daemon))))
        finally:
            process.kill()
            for pid in filter(alive, (forked, daemon)):
                os.kill(pid, signal.SIGKILL)


def test_who_ends_a_run_whose_guard_was_killed_ends_all_that_was_seen_of_it(
    tmp_path: Path,
) -> None:
    pids = tmp_path / "pids"

    async def scenario() -> list[int]:
        child = await Child.start(["-m", "tests.casestudies.stubborn", str(pids)], {})
        found = await sync_to_async(written_in)(pids)
        assert child.memory() > 0
        guard = psutil.Process(found[0]).parent()
        assert guard is not None
        guard.kill()
        await child.end()
        await child.close()
        return found

    left = async_to_sync(scenario)()
    try:
        wait_until(lambda: not any(map(alive, left)))
    finally:
        for pid in filter(alive, left):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.django_db
def test_a_run_gets_only_what_it_may_know_of_its_worker(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SECRET_KEY", "PGHOST", "AWS_SECRET_ACCESS_KEY", "DATA_DIR", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    program("-c", "import os; print([name for name, value in os.environ.items() if value == '2'])")
    assert carried_out().events.get().data == {"text": "['OMP_NUM_THREADS']"}


@pytest.mark.django_db
def test_what_left_the_group_and_lost_its_parent_ends_with_a_run_that_succeeds(
    program: Program, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    leave = (
        "import os, pathlib, signal\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if daemon := os.fork():\n"
        f"        pathlib.Path({str(pid)!r}).write_text(str(daemon))\n"
        "        os._exit(0)\n"
        "    signal.pause()\n"
        "os.wait()\n"
    )
    program("-c", leave + code({"event": "result", "result": RESULT}))
    assert carried_out().state == State.SUCCEEDED
    assert not alive(int(pid.read_text()))


@pytest.mark.django_db
def test_a_worker_that_was_taken_for_dead_takes_its_run_back(
    program: Program, tmp_path: Path
) -> None:
    go_on = tmp_path / "go_on"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go_on)!r}).exists(): time.sleep(.02)"
    program("-c", "\n".join([wait, code({"event": "result", "result": RESULT})]))
    run = a_run()

    async def state() -> str:
        await run.arefresh_from_db()
        return run.state

    async def scenario() -> None:
        working = asyncio.create_task(runner.work_once(Device.CPU, HERE))
        await until(Run.objects.running().aexists)
        await Run.objects.aupdate(state=State.LOST, finished="2026-01-01T00:00Z")
        await until(Run.objects.running().aexists)
        go_on.touch()
        await working

    async_to_sync(scenario)()
    run.refresh_from_db()
    assert run.state == State.SUCCEEDED
    assert run.measurements.count() == 1


@pytest.mark.django_db
def test_a_wish_to_cancel_outlives_the_loss_of_the_run(program: Program) -> None:
    program("-c", "import time; time.sleep(600)")
    run = a_run()

    async def scenario() -> None:
        working = asyncio.create_task(runner.work_once(Device.CPU, HERE))
        await until(Run.objects.running().aexists)
        assert await sync_to_async(cancel_and_lose)(run)
        await working

    async_to_sync(scenario)()
    run.refresh_from_db()
    assert (run.state, run.error) == (State.CANCELLED, "")


def cancel_and_lose(run: Run) -> bool:
    """Ask for the run's end, and take its worker for dead before it has learnt of that."""
    with transaction.atomic():
        asked = starting.cancel(run)
        Run.objects.update(heartbeat=F("heartbeat") - SILENCE)
        Run.objects.mark_lost()
    return asked


@pytest.mark.django_db
def test_a_run_asked_to_stop_before_its_success_was_stored_is_cancelled() -> None:
    run = a_run(state=State.RUNNING)
    journal = Journal(run)
    journal.take_line(json.dumps({"event": "result", "result": RESULT}))
    assert starting.cancel(run)
    journal.close(State.SUCCEEDED)
    run.refresh_from_db()
    assert run.state == State.CANCELLED
    assert not run.measurements.exists()


@pytest.mark.django_db
def test_a_run_is_lost_when_its_worker_is_silent_and_only_then() -> None:
    silent, alive = a_run(state=State.RUNNING), a_run(state=State.RUNNING)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE casestudies_run SET heartbeat = now() - interval '19 seconds' WHERE id = %s",
            [alive.pk],
        )
    assert Run.objects.mark_lost() == 1
    silent.refresh_from_db()
    alive.refresh_from_db()
    assert (silent.state, alive.state) == (State.LOST, State.RUNNING)


@pytest.mark.django_db(transaction=True)
def test_workers_that_race_never_share_a_run_nor_give_one_person_two_at_once() -> None:
    people = [a_person("ada"), a_person("bob"), None]
    runs = [a_run(owner=people[i % 3]) for i in range(12)]

    def claim(_: int) -> Run | None:
        try:
            return runner.claim(Device.CPU, HERE, Lease([]))
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as workers:
        claimed = [run for run in workers.map(claim, range(16)) if run]
    assert len(claimed) == len({run.pk for run in claimed}) == 6
    owners = [run.owner_id for run in claimed if run.owner_id]
    assert len(owners) == len(set(owners)) == 2
    oldest = next(run.pk for run in runs if run.owner == people[0])
    assert oldest in {run.pk for run in claimed}


@pytest.mark.django_db(transaction=True)
def test_what_a_run_says_waits_while_the_database_takes_nothing() -> None:
    run = a_run(state=State.RUNNING)
    journal = Journal(run)
    journal.take_line(json.dumps({"event": "log", "text": "kept"}))
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    with pytest.raises(Unavailable):
        journal.flush()
    # The next connection is one to a database that takes it.
    assert journal.flush()
    assert run.events.get().data == {"text": "kept"}


@pytest.mark.django_db(transaction=True)
def test_two_requests_at_once_do_not_both_take_the_last_place(settings: Settings) -> None:
    settings.RUNS_QUEUED_PER_USER = 3
    person = a_person("ada", "add_run")
    study = a_run().definition
    assert study
    asked = starting.Request.checked(study, "smoke", {}, 0, Device.CPU)

    def start(_: int) -> bool:
        try:
            starting.start(person, asked)
        except starting.TooManyWaiting:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(6) as requests:
        assert sum(requests.map(start, range(6))) == 3
    assert Run.objects.of(person).queued().count() == 3


def test_one_run_at_a_time_has_a_graphics_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.tempfile, "gettempdir", lambda: str(tmp_path))
    first, second, third = (Lease(["GPU-a", "GPU-b"]) for _ in range(3))
    assert first.take(1)
    assert second.take(1)
    assert [*first.gpus, *second.gpus] == ["GPU-a", "GPU-b"]
    assert not third.take(1)
    # The run's process inherits it, and keeps it when the worker is gone.
    [descriptor] = first.descriptors
    kept = os.dup(descriptor)
    first.release()
    assert not third.take(1)
    os.close(kept)
    assert third.take(1)
    third.release()
    second.release()


def test_a_run_has_all_the_graphics_processors_that_it_needs_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.tempfile, "gettempdir", lambda: str(tmp_path))
    with Lease(["GPU-b"]) as other, Lease(["GPU-a", "GPU-b", "GPU-c"]) as several:
        assert other.take(1)
        assert not several.take(3)
        # What it could have had of them, others can have.
        with Lease(["GPU-a"]) as single:
            assert single.take(1)
        assert several.take(2)
        assert several.gpus == ["GPU-a", "GPU-c"]
        assert len(several.descriptors) == 2


@pytest.mark.django_db
def test_a_run_on_a_gpu_waits_for_a_free_one_and_has_it_to_itself(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.tempfile, "gettempdir", lambda: str(tmp_path))
    run = a_run(device=Device.CUDA)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(CommandError, match="no gpu here"):
        call_command("worker", queues="gpu")
    with pytest.raises(CommandError, match="'tpu' is none of cpu, gpu"):
        call_command("worker", queues="cpu,tpu")

    told = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0a1b2c3d-4e5f)"
    nvidia_smi = tmp_path / "nvidia-smi"
    nvidia_smi.write_text(f"#!/bin/sh\necho '{told}'\n")
    nvidia_smi.chmod(0o755)
    here = Machine.here()
    with Lease(here.gpus) as other:
        assert other.take(1)
        assert not async_to_sync(runner.work_once)(Device.CUDA, here)
    program("-c", "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
    assert not async_to_sync(runner.work_once)(Device.CPU, HERE)
    assert async_to_sync(runner.work_once)(Device.CUDA, here)
    assert run.events.get().data == {"text": "GPU-0a1b2c3d-4e5f"}
    with Lease(here.gpus) as free_again:
        assert free_again.take(1)


@pytest.mark.django_db
def test_a_run_is_left_to_a_machine_that_can_carry_it_out(program: Program) -> None:
    """QMoE's largest product takes 14 GiB with all that is held beside it."""
    program("-c", "pass")
    small = Machine(cores=2, memory_bytes=8 * 2**30)
    large = Worker.objects.create(
        name="large", devices=[Device.CPU], machine=HERE.facts(), started=NOON, heartbeat=Now()
    )
    study = STUDIES["qmoe"]
    parameters = study.check("smoke", {"speed_size": 4096}).model_dump(mode="json")
    run, other = a_run("qmoe", preset="smoke", parameters=parameters), a_run()
    assert async_to_sync(runner.work_once)(Device.CPU, small)
    other.refresh_from_db()
    assert other.over
    assert not async_to_sync(runner.work_once)(Device.CPU, small)
    # Nobody else is left: it ends, and says why.
    large.delete()
    assert async_to_sync(runner.work_once)(Device.CPU, small)
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert run.error == "No worker here can carry it out: needs 14 GiB; this machine offers 8."


@pytest.mark.django_db
def test_a_run_that_wants_more_gpus_than_any_machine_has_holds_nobody_up() -> None:
    """It was asked for when another worker was there, or none."""
    run = a_run(device=Device.CUDA)
    assert async_to_sync(runner.work_once)(Device.CUDA, HERE)
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert run.error == "No worker here can carry it out: needs 1 GPU; this machine has 0."


@pytest.mark.django_db
@pytest.mark.parametrize(
    "mistake", [ZeroDivisionError("by 0"), KeyError("gone"), TypeError("None"), ValueError("odd")]
)
def test_a_study_that_cannot_say_what_it_needs_ends_its_own_runs_only(
    monkeypatch: pytest.MonkeyPatch, mistake: Exception
) -> None:
    def needs(parameters: Any) -> Any:
        raise mistake

    run = a_run()
    monkeypatch.setitem(STUDIES, run.study, replace(STUDIES[run.study], needs=needs))
    assert async_to_sync(runner.work_once)(Device.CPU, HERE)
    run.refresh_from_db()
    assert run.state == State.FAILED
    assert f"its study cannot say what it needs: {mistake!r}" in run.error


def test_a_worker_offers_no_more_memory_than_a_run_may_use(settings: Settings) -> None:
    """Else a run is taken that is ended, minutes later, for what was known before."""
    settings.RUN_MEMORY_GIB = 1.5
    assert loop.offer(HERE) == replace(HERE, memory_bytes=3 * 2**29)
    settings.RUN_MEMORY_GIB = 1000
    assert loop.offer(HERE) == HERE


@pytest.mark.django_db
def test_a_run_that_no_worker_can_carry_out_is_not_queued() -> None:
    study, person = STUDIES["qmoe"], a_person("ada", "add_run")
    asked = starting.Request.checked(study, "smoke", {"speed_size": 4096}, 0, Device.CPU)
    small = Machine(cores=2, memory_bytes=8 * 2**30)
    worker = Worker.objects.create(
        name="small", devices=[Device.CPU], machine=small.facts(), started=NOON, heartbeat=Now()
    )
    with pytest.raises(starting.NoMachine, match="needs 14 GiB; this machine offers 8"):
        starting.start(person, asked)
    assert not Run.objects.exists()
    worker.delete()
    assert starting.start(person, asked).state == State.QUEUED


def test_the_command_repeats_exactly_the_run() -> None:
    run = Run(study="sparsegpt", preset="smoke", seed=7, device=Device.CPU)
    study = run.definition
    assert study
    asked = {"sparsity": 0.6, "curve": True}
    run.parameters = study.check("smoke", asked).model_dump(mode="json")
    assert run_command.command_line(run) == (
        "python -m casestudies.lab run sparsegpt --preset smoke --device cpu --seed 7"
        " --sparsity 0.6 --curve True"
    )
    run.parameters |= {"former": 3}
    assert run.changed == {"sparsity": 0.6, "curve": True, "former": 3}
    run.preset = "former"
    assert run.changed == {}
    assert run_command.command_line(run) is None
