"""The API's description, for programs and for people, and the token to use it with."""

from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from rest_framework.authtoken.models import Token
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from reviewapp.edge import request_log
from reviewapp.limits.pages import limited
from reviewapp.rest.description import ERRORS
from reviewapp.rest.endpoint import Endpoint
from reviewapp.rest.listing import MOST_ROWS
from reviewapp.rest.reference import components, operations

PAGES_PER_MINUTE = 60
TOKENS_PER_MINUTE = 10


class Schema(Endpoint):
    """The description of the API in OpenAPI 3.1, as JSON or YAML."""

    schema = None
    renderer_classes = [
        OpenApiJsonRenderer2,
        OpenApiJsonRenderer,
        OpenApiYamlRenderer2,
        OpenApiYamlRenderer,
    ]

    def get(self, request: Request) -> Response:
        return Response(_description())


class Nothing(Endpoint):
    """Any other address of the API: an error in the API's own shape."""

    schema = None
    http_method_names = []

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse, before anything else is looked at."""
        hint = "" if request.path.endswith("/") else " Those of the API end with a slash."
        raise NotFound(f"There is nothing at this address.{hint}")


@require_safe
@limited(PAGES_PER_MINUTE)
def reference(request: HttpRequest) -> HttpResponse:
    """Show the API to people: its addresses with their keys, answers and examples."""
    description = _description()
    context = {
        "description": description["info"]["description"],
        "operations": operations(description, request.build_absolute_uri("/")[:-1]),
        "components": components(description),
        "errors": ERRORS.items(),
        "most_rows": MOST_ROWS,
        "rates": settings.REST_FRAMEWORK["DEFAULT_THROTTLE_RATES"],
    }
    return render(request, "api.html", context)


def _description() -> dict[str, Any]:
    """Return the API in OpenAPI 3.1."""
    description: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return description


@require_POST
@login_required
@never_cache
@limited(TOKENS_PER_MINUTE)
def account_token(request: HttpRequest) -> HttpResponse:
    """Give the person a new token, which ends the one before, and show it this once."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    with transaction.atomic():
        Token.objects.filter(user=request.user).delete()
        token = Token.objects.create(user=request.user)
    request_log.say("new token", request, request.user.get_username())
    return render(request, "accounts/token.html", {"key": token.key})
