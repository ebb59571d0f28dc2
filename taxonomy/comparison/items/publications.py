"""Publications side by side."""

from collections import Counter
from collections.abc import Iterable, Sequence

from reviewapp.corpus.models import Publication
from reviewapp.ui.units import number
from taxonomy.comparison.table import Cell, Described, Item, Part, Row, Section, row, text


def describe_publications(keys: Sequence[str]) -> Described:
    """Return what is known of the publications with these keys, in this order."""
    rows = Publication.objects.filter(key__in=keys).prefetch_related("strategies", "classes")
    found = {publication.key: publication for publication in rows.defer("search", "claims_text")}
    publications = [found[key] for key in keys]
    names = _names(publications)
    return Described(
        tuple(Item(p.key, names[p.pk], p.get_absolute_url(), p.title) for p in publications),
        names,
        (
            Section("What it is", tuple(_descriptions(publications))),
            Section("Set-up", tuple(_set_up(publications)), SET_UP_NOTE),
        ),
    )


SET_UP_NOTE = "Of the whole publication; what a claim was measured on stands with the claim."


def _names(publications: Sequence[Publication]) -> dict[int, str]:
    """Return the artifacts' names, with the key where two are called the same."""
    called = Counter(p.artifact_name for p in publications)
    return {
        p.pk: p.artifact_name if called[p.artifact_name] == 1 else f"{p.artifact_name} [{p.key}]"
        for p in publications
    }


def _descriptions(publications: Sequence[Publication]) -> Iterable[Row]:
    yield row("First version", publications, lambda p: Cell((Part(str(p.year)),), amount=p.year))
    yield row("Venue", publications, lambda p: _kind(p.short_venue, p.get_venue_kind_display()))
    yield row("Membership", publications, _membership)
    yield row("Confidence", publications, lambda p: text(p.get_confidence_display()))
    yield row(
        "Artifact", publications, lambda p: _kind(p.artifact_name, p.get_artifact_kind_display())
    )
    yield row("Code", publications, _code)
    yield row("Classes", publications, lambda p: _list(c.name for c in p.classes.all()))
    yield row("Strategies", publications, _strategies)
    yield row("Limitation", publications, _limitation)


def _set_up(publications: Sequence[Publication]) -> Iterable[Row]:
    yield row("Hardware", publications, lambda p: _list(p.hardware))
    yield row("Models", publications, lambda p: _list(p.models_used))
    yield row("Largest model", publications, _largest)


def _kind(name: str, kind: str) -> Cell:
    return Cell((Part(name, note=kind.lower()),))


def _list(names: Iterable[str]) -> Cell:
    parts = tuple(Part(name) for name in names)
    return Cell(parts, missing="" if parts else "not reported")


def _membership(publication: Publication) -> Cell:
    meaning = publication.get_membership_grade_display()
    label = publication.get_membership_display()
    note = "" if publication.in_review else "not counted in the review"
    return Cell((Part(label, "", note, publication.membership_grade, meaning),))


def _code(publication: Publication) -> Cell:
    if not publication.code_url:
        return Cell(missing="no address of the code is known")
    return Cell((Part(publication.code_url, publication.code_url),))


def _strategies(publication: Publication) -> Cell:
    found = publication.strategies.all()
    return Cell(tuple(Part(strategy.name, strategy.get_absolute_url()) for strategy in found))


def _limitation(publication: Publication) -> Cell:
    basis = publication.get_limitation_basis_display()
    return Cell((Part(publication.limitation, note=f"basis: {basis}"),))


def _largest(publication: Publication) -> Cell:
    size = publication.max_params_billion
    return text(f"{number(size)} billion parameters" if size else "", "not reported")
