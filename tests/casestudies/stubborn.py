"""A run's process that ends only when killed, and has started two others like itself.

`python -m tests.casestudies.stubborn FILE` writes the numbers of the three to FILE. The second is
forked; the third is in a session of its own, and what had started it has ended.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    forked = os.fork() or wait_for_ever()
    told, telling = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork() or wait_for_ever()
        os.write(telling, str(daemon).encode())
        os._exit(0)
    os.wait()
    Path(sys.argv[1]).write_text(f"{os.getpid()} {forked} {os.read(told, 20).decode()}")
    sys.stdout.write(json.dumps({"event": "progress", "done": 0.5, "stage": "waiting"}) + "\n")
    sys.stdout.flush()
    wait_for_ever()


def wait_for_ever() -> NoReturn:
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
