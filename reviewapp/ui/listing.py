"""A long list as pages."""

from typing import Any

from django.core.paginator import Page, Paginator
from django.http import HttpRequest

PER_PAGE = 25


def paginate(request: HttpRequest, rows: Any, total: int) -> Page[Any]:
    """Return the page that `?page=` asks for; the nearest one when there is no such page.

    `rows` gives them where it is sliced. `total` is their number, which the caller has counted
    for its heading already.
    """
    paginator = Paginator(rows, PER_PAGE)
    paginator.__dict__["count"] = total  # fills the cached property instead of counting again
    return paginator.get_page(request.GET.get("page"))
