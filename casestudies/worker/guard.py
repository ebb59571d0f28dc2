"""What stands between a worker and a run's process: it ends the run when the worker ends.

`python guard.py PARENT COMMAND ...` carries the command out, and ends as it does. Of the command's
descendants none outlives the guard, be it forked or in a group of its own: the kernel makes the
guard the parent of those that have lost theirs. SIGUSR1 ends them all at once, and the kernel sends
it when the worker ends, whatever ends it. SIGTERM is left to the command, whose group has it too.

It needs nothing but Python, so that it starts in hundredths of a second.
"""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
END_ALL = signal.SIGUSR1


def main(parent: int, command: list[str]) -> NoReturn:
    """Carry out the command on behalf of the process `parent`."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(END_ALL, _end_all)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _prctl(PR_SET_PDEATHSIG, END_ALL)
    if os.getppid() != parent:
        sys.exit("The worker ended before the run began")
    own = os.fork()
    if own == 0:
        _carry_out(command)
    while True:
        ended, status = os.wait()
        if ended == own:
            _end_descendants()
            _end_as(os.waitstatus_to_exitcode(status))


def _carry_out(command: list[str]) -> NoReturn:
    """Become the command; should the guard be killed, so is this."""
    guard = os.getppid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(END_ALL, signal.SIG_DFL)
    if os.getppid() == guard:
        os.execvp(command[0], command)  # noqa: S606
    os._exit(1)


def _end_all(*_: object) -> NoReturn:
    _end_descendants()
    _end_as(-signal.SIGKILL)


def _end_descendants() -> None:
    """Kill and bury every child, and those that become one by it, until there is none."""
    # One that has become another user's cannot be killed, nor waited for.
    with suppress(ChildProcessError, PermissionError):
        while True:
            for child in _children():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            os.wait()


def _children() -> list[int]:
    """Return the processes whose parent is this one."""
    own, found = str(os.getpid()), []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # After the name, which may hold anything, come the state and the parent.
            _, _, facts = (folder / "stat").read_text(errors="replace").rpartition(")")
            if facts.split()[1] == own:
                found.append(int(folder.name))
    return found


def _end_as(status: int) -> NoReturn:
    """End with the exit status, or by the signal whose negative it is."""
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
