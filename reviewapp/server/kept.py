"""What Waitress keeps while it is on its way, also where there is no room for it.

A request larger than half a mebibyte waits in a file until it is whole, an answer of more than one
until it is sent. Where the disk takes no more, Waitress disconnects who sends without a word, and
lets who waits wait; here the one is told, the other disconnected, and the log says why.
"""

import logging
from contextlib import suppress
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

log = logging.getLogger(__name__)

SECONDS_TO_WAIT = 10


class NoRoom(Error):
    """Says that the request cannot be kept now, and when to send it again."""

    code = 503
    reason = "Service Unavailable"

    def __init__(self) -> None:
        super().__init__("There is no room for what was sent. Send it again later.")

    def to_response(self, ident: str | None = None) -> Any:  # of bytes, not what its stubs say
        status, headers, body = super().to_response(ident)
        return status, [*headers, ("Retry-After", str(SECONDS_TO_WAIT))], body


class KeptRequest(HTTPRequestParser):
    """A request that ends with an error where it cannot be kept."""

    def received(self, data: bytes) -> int:
        """Take what came of the request, and return how many bytes of it were this one's."""
        try:
            return int(super().received(data))
        except OSError as error:
            log.error("A request cannot be kept: %s", error)
            with suppress(OSError):  # closing a file writes once more what it had no room for
                self.close()
            self.body_rcv, self.error, self.completed = None, NoRoom(), True
            return len(data)


class KeepingChannel(HTTPChannel):
    """A connection that ends where an answer cannot be kept."""

    parser_class = KeptRequest

    def write_soon(self, data: Any) -> int:
        """Send a part of an answer, or keep it until the client takes it."""
        with self.outbuf_lock:  # nothing of a broken buffer is to be sent
            try:
                return int(super().write_soon(data))
            except OSError as error:
                log.error("An answer cannot be kept: %s", error)
                self.will_close, self.total_outbufs_len = True, 0
                self.outbufs = [OverflowableBuffer(self.adj.outbuf_overflow)]
                self.server.pull_trigger()
                raise ClientDisconnected from error
