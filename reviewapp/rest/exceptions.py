"""Why the API refuses a request, beside the reasons that Django REST framework has."""

from collections.abc import Sequence

from rest_framework.exceptions import APIException, ValidationError

from reviewapp.edge.unavailable import SECONDS_TO_WAIT


class Conflict(APIException):
    """The thing is no longer in the state that the request is about."""

    status_code = 409
    default_code = "conflict"


class UnknownKeys(ValidationError):
    """An address has keys that its list does not know; unheeded, they would choose everything."""

    def __init__(self, unknown: Sequence[str], known: Sequence[str]) -> None:
        super().__init__({})
        self.unknown, self.known = unknown, known


class TooLarge(APIException):
    """The body is larger than anything that the API is asked."""

    status_code = 413
    default_code = "too_large"


class Unavailable(APIException):
    """The database does not answer, or takes nothing."""

    status_code = 503
    default_code = "unavailable"
    default_detail = "The database cannot serve just now. Nothing was stored in part."
    wait = SECONDS_TO_WAIT


class QueueFull(APIException):
    """The account has as many runs waiting as one may have."""

    status_code = 429
    default_code = "too_many_waiting"
