"""Signing in, which takes only so many guesses, and signing out."""

from math import ceil
from typing import Any

from django.contrib.auth import logout
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.views.decorators.http import require_http_methods, require_POST

from reviewapp.limits.counting import forget, seconds_to_wait
from reviewapp.limits.pages import limited

ATTEMPTS_PER_MINUTE = 10  # of one address
WRONG_PASSWORDS = 10  # for one name, in
SECONDS = 15 * 60
COUNTED_AS = "wrong password"


class SignInForm(AuthenticationForm):
    """A name and its password."""

    wait = 0  # seconds until the name may be tried again

    def clean(self) -> dict[str, Any]:
        """Return the fields; raise ValidationError when they let nobody in.

        Raises DatabaseError where the attempt cannot be counted: nobody may guess uncounted.
        """
        if self.errors:
            return self.cleaned_data
        name = self.cleaned_data["username"].lower()
        self.wait = seconds_to_wait(COUNTED_AS, name, WRONG_PASSWORDS, SECONDS)
        if self.wait:
            minutes = ceil(self.wait / 60)
            raise ValidationError(
                "Too many wrong passwords were given for this name."
                f" Try again in {minutes} minute{pluralize(minutes)}."
            )
        allowed = super().clean()
        forget(COUNTED_AS, name)
        return allowed


class SignIn(LoginView):
    """The form, and where it leads."""

    authentication_form = SignInForm
    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def form_invalid(self, form: Any) -> HttpResponse:
        """Show the form with what was wrong."""
        response = super().form_invalid(form)
        if form.wait:
            response.status_code = 429
            response["Retry-After"] = str(form.wait)
        return response

    def get_redirect_url(self) -> str:  # type: ignore[override] # as it is in Django 5.2
        """Return `next` when it is a path of this site other than this page's own, else ""."""
        address = super().get_redirect_url()
        return address if address.startswith("/") and address != self.request.path else ""


_sign_in = SignIn.as_view()


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Show the form, or sign in and go to `next`, which must be an address of this site."""
    return _try_to_sign_in(request) if request.method == "POST" else _sign_in(request)


@limited(ATTEMPTS_PER_MINUTE)
def _try_to_sign_in(request: HttpRequest) -> HttpResponseBase:
    return _sign_in(request)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session and go to the start page."""
    logout(request)
    return redirect("home")
