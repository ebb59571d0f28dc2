"""Files to download: the same rows as the page, with where, when and under what licence."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from reviewapp import __version__

DATA_LICENCE = "CC BY 4.0 for this project's texts; bibliographic facts are free to reuse"

CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "bib": "application/x-bibtex; charset=utf-8",
    "ris": "application/x-research-info-systems; charset=utf-8",
    "tex": "application/x-tex; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "pdf": "application/pdf",
}


@dataclass(frozen=True)
class Provenance:
    """What an exported file says of itself."""

    query: str
    exported: str
    version: str
    licence: str

    @property
    def line(self) -> str:
        """Return it as one line, for a comment."""
        return f"Peak Atlas {self.version}, {self.query}, {self.exported}; {self.licence}"


def provenance(request: HttpRequest) -> Provenance:
    """Return the address with its query, the date, the version and the licence."""
    return Provenance(
        query=request.build_absolute_uri(),
        exported=timezone.now().date().isoformat(),
        version=__version__,
        licence=DATA_LICENCE,
    )


def download(content: str | bytes, name: str, extension: str) -> HttpResponse:
    """Return `content` as the file `name.extension`."""
    response = HttpResponse(content, content_type=CONTENT_TYPES[extension])
    response["Content-Disposition"] = f'attachment; filename="{name}.{extension}"'
    return response


def neutralise(cell: Any) -> Any:
    """Return the cell with an apostrophe before text that a spreadsheet would run as a formula."""
    if isinstance(cell, str) and cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]], about: Provenance) -> str:
    """Return CSV with a header row; every row ends with the columns that say where it is from."""
    text = io.StringIO()
    writer = csv.writer(text)
    origin = asdict(about)
    writer.writerow([*header, *(f"export_{name}" for name in origin)])
    for row in rows:
        writer.writerow([neutralise(cell) for cell in [*row, *origin.values()]])
    return text.getvalue()


def as_json(content: dict[str, Any], about: Provenance) -> str:
    """Return indented JSON: the content, with the provenance under "export"."""
    return json.dumps({"export": asdict(about), **content}, ensure_ascii=False, indent=1)
