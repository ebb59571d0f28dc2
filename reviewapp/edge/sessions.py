"""Sessions as Django has them, of which a visitor's cookie names one."""

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest


class SessionsMiddleware(SessionMiddleware):
    """Takes a cookie that can be no session's name, such as one with a NUL character, for none.

    The database would refuse to look for it, and every page would fail.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Give the request its session."""
        if not request.COOKIES.get(settings.SESSION_COOKIE_NAME, "").isalnum():
            request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)
        super().process_request(request)
