"""The limits of the API: the rates of Django REST framework, counted as those of the pages are."""

from typing import TYPE_CHECKING

from rest_framework.request import Request
from rest_framework.throttling import (
    AnonRateThrottle,
    ScopedRateThrottle,
    SimpleRateThrottle,
    UserRateThrottle,
)

from reviewapp.limits.counting import address_of, seconds_to_wait_if_counted

if TYPE_CHECKING:  # it imports these throttles itself, by their names in the settings
    from rest_framework.views import APIView


class Counted(SimpleRateThrottle):
    """Counts in the database, from the first request of a window on; lets in who is not counted."""

    left = 0

    def allow_request(self, request: Request, view: "APIView") -> bool:
        """Return whether the request is within the rate, if there is one for it."""
        who = self.get_cache_key(request, view)
        if self.rate is None or who is None:
            return True
        most, seconds = self.parse_rate(self.rate)
        what = f"api {self.scope}"
        self.left = seconds_to_wait_if_counted(what, who, most or 0, seconds or 0)
        return not self.left

    def wait(self) -> int:
        """Return the seconds until the next window."""
        return self.left

    def get_ident(self, request: Request) -> str:
        """Return the address that somebody without a token is known by."""
        return address_of(request)


class ByAddress(AnonRateThrottle, Counted):
    """The rate "anon", for whoever has no token."""


class ByAccount(UserRateThrottle, Counted):
    """The rate "user", for whoever has one."""

    def get_cache_key(self, request: Request, view: "APIView") -> str | None:
        """Return what names the account; None for nobody, who is counted by address."""
        return super().get_cache_key(request, view) if request.user.is_authenticated else None


class ByScope(ScopedRateThrottle, Counted):
    """The rate that the view's `throttle_scope` names."""
