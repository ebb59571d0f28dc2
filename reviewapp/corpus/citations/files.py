"""Citations of many publications as a file, made while it is sent."""

from collections.abc import Callable, Iterable, Iterator

from reviewapp.corpus.citations.bibtex import bibtex, bibtex_comment
from reviewapp.corpus.citations.csl import csl_parts
from reviewapp.corpus.citations.ris import ris
from reviewapp.corpus.models import Publication
from reviewapp.ui.export import Provenance


def _bibtex(publications: Iterable[Publication], about: Provenance) -> Iterator[str]:
    yield bibtex_comment(about.line)
    yield from (f"{bibtex([publication])}\n" for publication in publications)


def _ris(publications: Iterable[Publication], about: Provenance) -> Iterator[str]:
    yield from (f"{ris([publication], about.short)}\n" for publication in publications)


def _csl(publications: Iterable[Publication], about: Provenance) -> Iterator[str]:
    return csl_parts(publications, about.short)


# By the extension of the file. Only BibTeX has room for the whole provenance, as a comment.
CITATIONS: dict[str, Callable[[Iterable[Publication], Provenance], Iterator[str]]] = {
    "bib": _bibtex,
    "ris": _ris,
    "csl.json": _csl,
}
