"""Counting what may be done only so often, together with all processes of the site.

A count is a row in the database, so that no flood of other visitors pushes it out, as it does from
a cache, and no second process counts from nothing.
"""

import ipaddress
import logging

from django.db import DatabaseError, connection
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from reviewapp.limits.models import Count

log = logging.getLogger(__name__)

# One statement, so that of many who ask at once no two are counted as the same.
ONE_MORE = """
INSERT INTO limits_count AS kept (what, who, n, ends)
VALUES (%(what)s, %(who)s, 1, clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (what, who) DO UPDATE SET
    n = CASE WHEN kept.ends > clock_timestamp() THEN kept.n + 1 ELSE 1 END,
    ends = CASE WHEN kept.ends > clock_timestamp() THEN kept.ends ELSE excluded.ends END
RETURNING n, ceil(extract(epoch FROM ends - clock_timestamp()))
"""


def seconds_to_wait(what: str, who: str, most: int, seconds: int) -> int:
    """Count once more; return 0 while that is within `most` in `seconds`, else how long to wait.

    Raises DatabaseError where nothing can be written.
    """
    with connection.cursor() as cursor:
        cursor.execute(ONE_MORE, {"what": what, "who": _digest(who), "seconds": seconds})
        n, left = cursor.fetchone()
    return max(1, int(left)) if n > most else 0


def seconds_to_wait_if_counted(what: str, who: str, most: int, seconds: int) -> int:
    """Return what `seconds_to_wait` does, and 0 where nothing can be written, as on a full disk."""
    try:
        return seconds_to_wait(what, who, most, seconds)
    except DatabaseError as error:
        log.error("A request could not be counted: %s", str(error).partition("\n")[0])
        return 0


def forget(what: str, who: str) -> None:
    """Count from nothing again."""
    Count.objects.filter(what=what, who=_digest(who)).delete()


def _digest(who: str) -> str:
    return salted_hmac("reviewapp.limits", who, algorithm="sha256").hexdigest()


def address_of(request: HttpRequest) -> str:
    """Return what counts as one address: of IPv6 a network of 64 bits, which one person may have.

    Empty where the server does not know it: they count together.
    """
    text = request.META.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))
