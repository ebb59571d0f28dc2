"""The compare tray: what the visitor has picked, kept in a cookie that only the server reads."""

from dataclasses import dataclass
from typing import Self

from django.http import HttpRequest, HttpResponse

from taxonomy.comparison.selection import MOST, SLUG, TRAY_KINDS, ComparisonSelection, ItemKind

COOKIE = "compare"
KEPT_FOR = 30 * 24 * 60 * 60  # seconds


class TrayFull(Exception):
    """The tray holds as many items as can be compared."""


@dataclass(frozen=True)
class Tray:
    """Up to six slugs of one kind, in the order in which they were picked."""

    kind: ItemKind | None = None
    slugs: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Return the tray as the cookie has it; an unreadable one is empty.

        Asks no database: whether the items still exist shows in `names`.
        """
        name, _, rest = request.COOKIES.get(COOKIE, "").partition(":")
        slugs = dict.fromkeys(slug for slug in rest.split(".") if SLUG.fullmatch(slug))
        if name not in TRAY_KINDS or not slugs:
            return cls()
        return cls(TRAY_KINDS[name], tuple(slugs)[:MOST])

    def names(self) -> dict[str, str]:
        """Return the names of the items that exist, by slug; one query, none when empty."""
        found = self.kind.names(self.slugs) if self.kind else {}
        return {slug: found[slug] for slug in self.slugs if slug in found}

    def holds(self, kind: ItemKind, slug: str) -> bool:
        return self.kind == kind and slug in self.slugs

    def only_existing(self) -> Self:
        """Return the tray without items that no longer exist."""
        return type(self)(self.kind, tuple(self.names()))

    def with_item(self, kind: ItemKind, slug: str) -> Self:
        """Return the tray with the item, alone in it when the tray held another kind.

        Raises TrayFull when there is no room.
        """
        if self.kind != kind:
            return type(self)(kind, (slug,))
        if slug not in self.slugs and len(self.slugs) >= MOST:
            raise TrayFull
        return type(self)(kind, tuple(dict.fromkeys((*self.slugs, slug))))

    def without_item(self, kind: ItemKind, slug: str) -> Self:
        """Return the tray without the item."""
        if not self.holds(kind, slug):
            return self
        return type(self)(kind, tuple(other for other in self.slugs if other != slug))

    def selection(self) -> ComparisonSelection | None:
        """Return the comparison of what is in the tray; None when it is empty."""
        return (
            ComparisonSelection(self.kind, tuple(sorted(self.slugs)))
            if self.kind and self.slugs
            else None
        )

    def save(self, request: HttpRequest, response: HttpResponse) -> None:
        """Let the visitor's browser keep the tray."""
        if self.kind is None or not self.slugs:
            response.delete_cookie(COOKIE, samesite="Lax")
            return
        response.set_cookie(
            COOKIE,
            f"{self.kind.name}:{'.'.join(self.slugs)}",
            max_age=KEPT_FOR,
            secure=request.is_secure(),
            httponly=True,
            samesite="Lax",
        )
