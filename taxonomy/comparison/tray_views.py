"""Changing the compare tray: small forms that work with and without JavaScript."""

from django import forms
from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from django_htmx.http import HttpResponseClientRefresh

from taxonomy.comparison.selection import MOST, TRAY_KINDS, ItemKind
from taxonomy.comparison.tray import Tray, TrayFull

ACTIONS = ("add", "remove", "clear", "fill")


class TrayForm(forms.Form):
    """What to do with the tray, and where to go afterwards."""

    action = forms.ChoiceField(choices=[(action, action) for action in ACTIONS])
    kind = forms.ChoiceField(choices=[(kind, kind) for kind in TRAY_KINDS], required=False)
    items = forms.CharField(required=False)  # slugs with commas between them
    next = forms.CharField(required=False)

    def apply(self, tray: Tray) -> tuple[Tray, str]:
        """Return the changed tray and a sentence that says what happened.

        Raises BadRequest for items that do not exist and TrayFull when there is no room.
        """
        action, slugs = self.cleaned_data["action"], self.cleaned_data["items"].split(",")
        if action == "clear":
            return Tray(), "The compare tray is empty."
        kind = TRAY_KINDS.get(self.cleaned_data["kind"])
        if kind is None:
            raise BadRequest("The compare tray holds strategies or publications.")
        if action == "remove":
            return _remove(tray, kind, slugs[0])
        names = kind.names(slugs[: MOST + 1])
        if unknown := [slug for slug in slugs if slug not in names]:
            raise kind.unknown(unknown[0])
        if action == "fill":
            return _fill(kind, slugs)
        return _add(tray, kind, slugs[0], names[slugs[0]])


def _remove(tray: Tray, kind: ItemKind, slug: str) -> tuple[Tray, str]:
    name = tray.names().get(slug, slug)
    return tray.without_item(kind, slug), f"{name} was removed from the compare tray."


def _fill(kind: ItemKind, slugs: list[str]) -> tuple[Tray, str]:
    if len(slugs) > MOST:
        raise TrayFull
    return Tray(kind, tuple(slugs)), f"The compare tray holds these {len(slugs)} {kind.plural} now."


def _add(tray: Tray, kind: ItemKind, slug: str, name: str) -> tuple[Tray, str]:
    changed = tray.with_item(kind, slug)
    if tray.kind and tray.kind != kind and tray.slugs:
        left = ", ".join(tray.names().values())
        return changed, (
            f"A new compare tray was started with {name}, because {kind.plural} and "
            f"{tray.kind.plural} cannot be compared with each other. It no longer holds: {left}."
        )
    return changed, f"{name} was added to the compare tray: {len(changed.slugs)} of {MOST}."


@require_POST
def change_tray(request: HttpRequest) -> HttpResponse:
    """Change the tray as the form says and go back to the page it came from."""
    form = TrayForm(request.POST)
    if not form.is_valid():
        raise BadRequest("The compare tray can be added to, removed from, filled or cleared.")
    before = Tray.of(request).only_existing()
    try:
        after, sentence = form.apply(before)
        messages.info(request, sentence)
    except TrayFull:
        after = before
        messages.warning(request, f"The compare tray is full: {MOST} at most. Remove one first.")
    response = _answer(request, before, after, _safe_next(form.cleaned_data["next"]))
    after.save(request, response)
    return response


def _safe_next(address: str) -> str:
    """Return the address when it is a path of this site, else that of the comparison."""
    own = address.startswith("/") and url_has_allowed_host_and_scheme(address, allowed_hosts=None)
    return address if own else reverse("compare")


def _answer(request: HttpRequest, before: Tray, after: Tray, address: str) -> HttpResponse:
    if not getattr(request, "htmx", False):
        return HttpResponseRedirect(address)
    if before.kind and after.kind and before.kind != after.kind:
        return HttpResponseClientRefresh()  # every button on the page has another meaning now
    kind = before.kind or after.kind
    changed = set(before.slugs) ^ set(after.slugs)
    context = {
        "tray": after,
        "kind": kind.name if kind else "",
        "changed": kind.names(changed).items() if kind else (),
        "next": address.split("#", maxsplit=1)[0],
    }
    return render(request, "taxonomy/_tray_changed.html", context)
