"""One's own account, and the accounts made without asking anybody."""

import os

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from casestudies.models import Run
from casestudies.permissions import let_start_runs
from casestudies.studies.forms import MOST_TAGS_SHOWN, HistoryForm
from casestudies.studies.results import for_list
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.listing import paginate

DEMO = "demo"  # the name of the demo account, and its password
PERMITS = {
    "casestudies.add_run": "start runs, cancel your own, and delete your own when they are over",
    "casestudies.change_run": "cancel any run, and write its note and tags",
    "casestudies.delete_run": "delete any run that is over",
    "casestudies.add_contribution": "import runs that were made elsewhere, and undo that",
    "casestudies.delete_contribution": "undo any import",
    "casestudies.accept_contribution": "accept contributed runs, so that they decide",
}


@require_safe
@login_required
@never_cache
def account(request: HttpRequest) -> HttpResponse:
    """Show who is signed in, what this person may do, and the person's runs."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    Run.objects.mark_lost()
    runs = Run.objects.of(request.user)
    tags = runs.tag_counts()
    tag = cleaned_or_400(HistoryForm(request.GET))["tag"]
    runs = runs.tagged(tag) if tag else runs
    page = paginate(request, for_list(runs), runs.count())
    held = request.user.get_all_permissions()
    context = {
        "permits": [meaning for permission, meaning in PERMITS.items() if permission in held],
        "tags": tags[:MOST_TAGS_SHOWN],
        "tag": tag,
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
    }
    return render(request, "accounts/account.html", context)


def first_account_hint() -> str | None:
    """Return how to make the first account, in one line; None when there is one."""
    if User.objects.filter(is_active=True).exists():
        return None
    return (
        "Nobody can sign in yet: `.venv/bin/python manage.py createsuperuser` makes the first"
        " account, which is needed to start runs."
    )


def ensure_demo_account() -> None:
    """With DEMO=1 let everybody sign in as demo and start runs; without it, let nobody.

    An account of that name with another password is somebody's own and is left alone.
    """
    demo = User.objects.filter(username=DEMO).first()
    if demo and not demo.check_password(DEMO):
        return
    if os.environ.get("DEMO") == "1":
        demo = demo or User.objects.create_user(DEMO, password=DEMO)
        User.objects.filter(pk=demo.pk).update(is_active=True)
        let_start_runs(demo)
    elif demo:
        User.objects.filter(pk=demo.pk).update(is_active=False)
