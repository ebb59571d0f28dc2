"""What every address of the API does before its own part."""

from typing import Any

from rest_framework.request import Request
from rest_framework.views import APIView


class Endpoint(APIView):
    """An address of the API; it has the methods that its class has, and `Allow` names them."""

    http_method_names = ["get", "head", "post"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse another method before anything else: no token or format would make it right."""
        if request.method not in self.allowed_methods:
            self.http_method_not_allowed(request, *args, **kwargs)
        super().initial(request, *args, **kwargs)
