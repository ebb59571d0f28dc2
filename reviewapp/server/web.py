"""A process of the web server: `python -m reviewapp.server.web DESCRIPTOR`, of an open listener.

Waitress reads requests and sends answers in one thread and keeps what is on its way, on disk where
it is much: no client, however slow, holds one of the threads that make pages. A silent client is
disconnected; that many slow ones can be there at once, and a proxy in front takes more.
"""

import logging
import resource
import signal
import socket
import sys
from typing import NoReturn

from reviewapp.server.balance import BalancedServer

THREADS = 12  # of which renderings and long files together may hold seven
MOST_CONNECTIONS = 1000
FILES_KEPT = 100  # for all that is no visitor's connection
SECONDS_OF_SILENCE = 20
SECONDS_BETWEEN_LOOKS = 2
SECONDS_TO_FINISH = 2  # what is being answered when the site ends
LARGEST_BODY = 2**21  # of any address; each has its own limit below it
LARGEST_HEADERS = 2**15
LARGEST_ANSWER = 2**28  # what a thread may leave to be sent before it waits for the client


def main() -> None:
    """Serve the site on the listener until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, _leave)
    from reviewapp.wsgi import application

    # It warns of every request that has to wait for a thread.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = BalancedServer(
        application,
        _listener(int(sys.argv[1])),
        threads=THREADS,
        connection_limit=_most_connections(),
        channel_timeout=SECONDS_OF_SILENCE,
        cleanup_interval=SECONDS_BETWEEN_LOOKS,
        max_request_body_size=LARGEST_BODY,
        max_request_header_size=LARGEST_HEADERS,
        outbuf_high_watermark=LARGEST_ANSWER,
        asyncore_use_poll=True,  # select() fails from the 1,024th open file on
        clear_untrusted_proxy_headers=False,  # the application knows which proxies are trusted
        ident=None,
    )
    server.run()


def _leave(*_: object) -> NoReturn:
    """End, after a while even where threads are busy, for which Waitress waits longer."""
    signal.alarm(SECONDS_TO_FINISH)
    sys.exit(0)


def _listener(descriptor: int) -> socket.socket:
    """Return the open listener, whose connections the kernel ends when they take nothing more.

    Waitress disconnects who says nothing, but waits without end for who reads nothing.
    """
    listener = socket.socket(fileno=descriptor)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * SECONDS_OF_SILENCE)
    return listener


def _most_connections() -> int:
    """Return how many there may be: each can hold a socket and the file of what is on its way."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(MOST_CONNECTIONS, (most - FILES_KEPT) // 2)


if __name__ == "__main__":
    main()
