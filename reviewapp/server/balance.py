"""Waitress, with visitors shared evenly among the processes that serve one listener.

A connection belongs to whichever process takes it, and a browser keeps it: by chance one process
can have most of them while its neighbour is idle, and pages that one process makes at the same
time slow each other down. So a process that has enough to do takes no further connection, and ends
those it has with their answers, saying so; the next request comes over a new one, which waits for
the process that is free first.
"""

import socket
from time import monotonic
from typing import Any
from wsgiref.types import WSGIApplication

from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import WSGITask

from reviewapp.server.kept import KeepingChannel

ENOUGH = 3  # one computes while the others wait for the database
# A request that takes longer waits for something else: a rendering, a long file, a lock.
SECONDS_THAT_COUNT = 0.5


class BalancedTask(WSGITask):
    """Makes an answer that ends its connection where the process has enough to do."""

    channel: "BalancedChannel"

    def build_response_header(self) -> bytes:
        if self.channel.server.has_enough:
            self.set_close_on_finish()
        return super().build_response_header()


class BalancedChannel(KeepingChannel):
    """A connection, of which the server knows when it was answered."""

    task_class = BalancedTask
    server: "BalancedServer"

    def service(self) -> None:
        request = self.requests[0]
        try:
            super().service()
        finally:
            self.server.forget(request)


class BalancedServer(TcpWSGIServer):
    """Serves a listener that others serve too, and takes its share: see this file's head.

    `settings` are those of Waitress.
    """

    channel_class = BalancedChannel

    def __init__(
        self, application: WSGIApplication, listener: socket.socket, **settings: Any
    ) -> None:
        self._unanswered: dict[HTTPRequestParser, float] = {}  # when each came
        super().__init__(
            application,
            _sock=listener,
            adj=Adjustments(sockets=[listener], **settings),
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )

    @property
    def has_enough(self) -> bool:
        began = list(self._unanswered.values())
        lately = sum(monotonic() - one < SECONDS_THAT_COUNT for one in began)
        return lately >= ENOUGH or len(began) >= self.adj.threads

    def add_task(self, task: Any) -> None:
        """Give a thread the first request of a connection."""
        self._unanswered[task.requests[0]] = monotonic()
        super().add_task(task)

    def forget(self, request: HTTPRequestParser) -> None:
        """Count the request no more, and wake the thread that takes connections."""
        del self._unanswered[request]
        self.pull_trigger()

    def readable(self) -> bool:
        """Return whether to take a connection, should there be one."""
        return super().readable() and not self.has_enough
