"""What every address of the API does before its own part."""

from typing import Any, ClassVar

from django import forms
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.views import APIView

from reviewapp.rest.reading import refuse_unknown


class Endpoint(APIView):
    """An address of the API; it has the methods that its class has, and `Allow` names them.

    What is read by it may be chosen by the keys of `fields()`, and no others.
    """

    http_method_names = ["get", "head", "post"]
    other_keys: ClassVar[tuple[str, ...]] = ("format",)  # that choose how it is answered

    def fields(self) -> dict[str, forms.Field]:
        """Return the keys of the address that choose what is answered."""
        return {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse another method before anything else: no token or format would make it right.

        Raise UnknownKeys where something is read by a key that is not known: left out without a
        word, it would seem to choose.
        """
        if request.method not in self.allowed_methods:
            self.http_method_not_allowed(request, *args, **kwargs)
        super().initial(request, *args, **kwargs)
        if request.method in SAFE_METHODS:
            refuse_unknown(request.query_params, [*self.fields(), *self.other_keys])
