"""A run's process that ends only when killed, and has started another like itself.

`python -m tests.casestudies.stubborn FILE` writes both process numbers to FILE.
"""

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    grandchild = os.fork()
    if grandchild:
        Path(sys.argv[1]).write_text(f"{os.getpid()} {grandchild}")
        sys.stdout.write(json.dumps({"event": "progress", "done": 0.5, "stage": "waiting"}) + "\n")
        sys.stdout.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
