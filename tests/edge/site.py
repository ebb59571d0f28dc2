"""The site as it is served: the real web server, in a process of its own."""

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from reviewapp.server import web

SECONDS = 20.0
WEB = """
import sys
from reviewapp.server import web
web.SECONDS_OF_SILENCE = int(sys.argv[2])
web.main()
"""


@dataclass(frozen=True)
class Answer:
    """What the site said."""

    status: int
    headers: http.client.HTTPMessage
    text: str


@dataclass(frozen=True)
class Site:
    """A served site; `log` has what it says to its operator."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, address: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for the address as a program would."""
        with self._asked(address, headers) as response:
            return Answer(response.status, response.headers, response.read().decode())

    def status(self, address: str, headers: Mapping[str, str] | None = None) -> int:
        """Ask for the address, and leave when it is known how it will be answered."""
        with self._asked(address, headers) as response:
            return response.status

    @contextmanager
    def _asked(
        self, address: str, headers: Mapping[str, str] | None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        connection.request("GET", address, headers=dict(headers or {}))
        with closing(connection), connection.getresponse() as response:
            yield response

    def send(self, request: bytes) -> bytes:
        """Send the bytes and return all that comes back until the server closes the connection.

        What it leaves unread may cost the end of what it says. Raises TimeoutError when it does
        not close.
        """
        answer = bytearray()
        with (
            socket.create_connection(("127.0.0.1", self.port), SECONDS) as connection,
            suppress(ConnectionResetError, BrokenPipeError),
        ):
            connection.sendall(request)
            while part := connection.recv(65_536):
                answer += part
        return bytes(answer)


@contextmanager
def served(
    database_url: str,
    folder: Path,
    *,
    under: Sequence[str] = (),
    silence: int = web.SECONDS_OF_SILENCE,
    **environment: str,
) -> Iterator[Site]:
    """Prepare the database, serve the site until the context ends, and stop it.

    `under` is a command that the server is to be started by; it lets clients be silent for so many
    seconds.
    """
    variables = {
        **os.environ,
        "DATABASE_URL": database_url,
        "DATA_DIR": str(folder),
        "SECRET_KEY": settings.SECRET_KEY,
        **environment,
    }
    run: dict[str, Any] = {"cwd": settings.BASE_DIR, "env": variables}
    subprocess.run(
        [sys.executable, "-m", "reviewapp.server.prepare"],
        check=True,
        stdout=subprocess.DEVNULL,
        **run,
    )
    log = folder / "log"
    with socket.create_server(("127.0.0.1", 0)) as listener, log.open("wb") as said:
        process = subprocess.Popen(
            [*under, sys.executable, "-c", WEB, str(listener.fileno()), str(silence)],
            pass_fds=[listener.fileno()],
            stdout=said,
            stderr=said,
            **run,
        )
        try:
            yield Site(listener.getsockname()[1], process, log)
        finally:
            process.terminate()
            process.wait(SECONDS)
