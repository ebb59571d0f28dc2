"""Files to download: the same rows as the page, with where, when and under what licence."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone

from reviewapp import __version__

DATA_LICENCE = "CC BY 4.0 for this project's texts; bibliographic facts are free to reuse"

BYTE_ORDER_MARK = "\ufeff"

CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "bib": "application/x-bibtex; charset=utf-8",
    "ris": "application/x-research-info-systems; charset=utf-8",
    "csl.json": "application/vnd.citationstyles.csl+json",
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

    @property
    def short(self) -> str:
        """Return what each of many records may say of itself: the site's version and the date."""
        return f"Peak Atlas {self.version}, {self.exported}"


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


def stream(parts: Iterable[str], name: str, extension: str) -> StreamingHttpResponse:
    """Return `parts` as the file `name.extension`, sent while they are made."""
    response = StreamingHttpResponse(parts, content_type=CONTENT_TYPES[extension])
    response["Content-Disposition"] = f'attachment; filename="{name}.{extension}"'
    return response


def neutralise(cell: Any) -> Any:
    """Return the cell with an apostrophe before text that a spreadsheet would run as a formula."""
    if isinstance(cell, str) and cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def _cell(value: Any) -> Any:
    """Return what stands in one cell: of several values all, parted by semicolons."""
    return neutralise("; ".join(map(str, value)) if isinstance(value, list) else value)


def csv_lines(
    header: Sequence[str], rows: Iterable[Sequence[Any]], about: Provenance
) -> Iterator[str]:
    """Yield CSV line by line: a header, then rows that end with the columns saying their origin.

    Several values in one cell, a list, are parted by semicolons. A byte order mark comes first:
    without it a spreadsheet takes UTF-8 for another encoding. pandas skips it, and Python does
    with the encoding "utf-8-sig".
    """
    text = io.StringIO(BYTE_ORDER_MARK)
    text.seek(0, io.SEEK_END)
    writer = csv.writer(text)
    origin = asdict(about)
    writer.writerow([*header, *(f"export_{name}" for name in origin)])
    for row in rows:
        yield text.getvalue()
        text.seek(0)
        text.truncate()
        writer.writerow([_cell(value) for value in [*row, *origin.values()]])
    yield text.getvalue()


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]], about: Provenance) -> str:
    """Return the lines of `csv_lines` as one text."""
    return "".join(csv_lines(header, rows, about))


def as_json(content: dict[str, Any], about: Provenance) -> str:
    """Return indented JSON: the content, with the provenance under "export"."""
    return json.dumps({"export": asdict(about), **content}, ensure_ascii=False, indent=1)


def json_parts(name: str, items: Iterable[dict[str, Any]], about: Provenance) -> Iterator[str]:
    """Yield the JSON of a long list under `name`, item by item, with the provenance first."""
    yield f'{{"export": {json.dumps(asdict(about), ensure_ascii=False)},\n"{name}": ['
    separator = "\n"
    for item in items:
        yield separator + json.dumps(item, ensure_ascii=False)
        separator = ",\n"
    yield "\n]}\n"
