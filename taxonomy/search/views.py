"""The page of a search: the best of every group, or all of one."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.listing import paginate
from taxonomy.search.forms import SearchForm
from taxonomy.search.found import Group, find


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Show what is found, in groups, or every hit of the group that is asked for."""
    asked = cleaned_or_400(SearchForm(request.GET))
    if not asked["q"]:
        return render(request, "taxonomy/search.html")
    found = find(asked["q"])
    context: dict[str, object] = {"found": found, "search": found.search}
    if chosen := next((group for group in found.groups if group.key == asked["group"]), None):
        context |= _whole(request, chosen)
    return render(request, "taxonomy/search.html", context)


def _whole(request: HttpRequest, group: Group) -> dict[str, object]:
    page = paginate(request, group.hits, group.hits.total)
    return {
        "group": group,
        "page": page,
        "page_range": page.paginator.get_elided_page_range(page.number),
    }
