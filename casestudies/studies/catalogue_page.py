"""The catalogue: which strategies run here, by family, each study with what it found."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from django import forms
from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils.safestring import SafeString

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.models import Run
from casestudies.runs.charts import declared_charts
from casestudies.runs.watching import curves, measured
from casestudies.studies.results import for_list, standing_results
from reviewapp.corpus.models import Publication
from reviewapp.ui.svg import thumbnail
from taxonomy.choices import Origin
from taxonomy.models import Family, Strategy, TaxonomyClass

LAST_RUNS = 2
LONGEST_SEARCH = 200


class CatalogueForm(forms.Form):
    """What of the catalogue is shown."""

    q = forms.CharField(
        required=False,
        label="Search",
        max_length=LONGEST_SEARCH,
        widget=forms.TextInput(attrs={"type": "search", "placeholder": "Method, paper, strategy"}),
    )
    of_class = forms.ModelChoiceField(
        TaxonomyClass.objects.all(),
        required=False,
        label="Class",
        empty_label="All classes",
        to_field_name="slug",
        error_messages={"invalid_choice": "There is no class “%(value)s”."},
    )

    def add_prefix(self, field_name: str) -> str:
        """Return the key in the address: `class`, which no field may be called."""
        return {"of_class": "class"}.get(field_name, field_name)


class SmallChart(NamedTuple):
    """A chart of a card, drawn."""

    title: str
    drawing: SafeString


@lru_cache(128)
def _small_chart(run: Run, rows: tuple[int, ...]) -> SmallChart | None:
    """Return the first chart of a run's result, remembered as long as it has the same rows.

    A result stays as it is; one that ships is replaced, row by row, where its file has changed.
    """
    charts = declared_charts(run, measured(run), curves(run))
    return SmallChart(charts[0].title, thumbnail(charts[0])) if charts else None


@dataclass(frozen=True)
class Card:
    """A study with what it is about, the run that stands for it and its last runs."""

    study: Study
    publications: Sequence[Publication]
    strategies: Sequence[Strategy]
    result: Run | None
    runs: Sequence[Run]

    @property
    def chart(self) -> SmallChart | None:
        """Return the first chart of the result."""
        if self.result is None:
            return None
        rows = self.result.in_headlines  # type: ignore[attr-defined]
        return _small_chart(self.result, tuple(row.pk for row in rows))

    @property
    def words(self) -> str:
        """Return all that a search looks into."""
        study = self.study
        named = [study.slug, study.title, study.summary]
        named += [text for p in self.publications for text in (p.title, p.artifact_name)]
        return " ".join([*named, *(strategy.name for strategy in self.strategies)]).casefold()


@dataclass(frozen=True)
class StrategyLine:
    """A strategy and the studies that run it; none means that it waits for one."""

    strategy: Strategy
    studies: Sequence[Study]


@dataclass(frozen=True)
class Section:
    """A family of strategies with the studies that belong to it first of all."""

    family: Family | None
    cards: Sequence[Card]
    lines: Sequence[StrategyLine]

    @property
    def running(self) -> int:
        return sum(bool(line.studies) for line in self.lines)


@dataclass(frozen=True)
class Catalogue:
    """The sections that are shown, and how much of the whole taxonomy runs."""

    sections: Sequence[Section]
    running: int
    strategies: int

    @property
    def cards(self) -> int:
        return sum(len(section.cards) for section in self.sections)


def catalogue(text: str, of_class: TaxonomyClass | None) -> Catalogue:
    """Return the studies and strategies that match, with a constant number of queries."""
    strategies = list(Strategy.objects.select_related("group__family").prefetch_related("classes"))
    cards = _cards(strategies)
    wanted = [s for s in strategies if of_class is None or of_class in s.classes.all()]
    slugs = {strategy.slug for strategy in wanted}
    words = text.casefold().split()
    shown = [
        card
        for card in cards
        if (of_class is None or slugs & {*card.study.strategies})
        and all(word in card.words for word in words)
    ]
    lines = [StrategyLine(s, _running(s)) for s in wanted]
    if words:
        lines = [line for line in lines if _matches(line, words, shown)]
    return Catalogue(
        list(_sections(shown, lines)),
        running=sum(bool(_running(strategy)) for strategy in strategies),
        strategies=len(strategies),
    )


def _running(strategy: Strategy) -> list[Study]:
    return [study for study in STUDIES.values() if strategy.slug in study.strategies]


def _matches(line: StrategyLine, words: Iterable[str], shown: Sequence[Card]) -> bool:
    name = line.strategy.name.casefold()
    return all(word in name for word in words) or any(card.study in line.studies for card in shown)


def _sections(cards: Sequence[Card], lines: Sequence[StrategyLine]) -> Iterable[Section]:
    """Yield each family that has something to show; a study belongs where its first strategy is."""
    homes = {card.study.slug: next(iter(card.strategies), None) for card in cards}
    families = {line.strategy.group.family for line in lines}
    families |= {home.group.family for home in homes.values() if home}
    for family in sorted(families, key=lambda family: family.position):
        yield Section(
            family,
            [c for c in cards if (home := homes[c.study.slug]) and home.group.family == family],
            [line for line in lines if line.strategy.group.family == family],
        )
    if homeless := [card for card in cards if homes[card.study.slug] is None]:
        yield Section(None, homeless, [])


def named_publications(keys: Collection[str]) -> QuerySet[Publication]:
    """Return the publications with these keys, with what names them."""
    named = Publication.objects.only("key", "title", "artifact_name", "year")
    return named.filter(key__in=keys)


def _cards(strategies: Sequence[Strategy]) -> list[Card]:
    results, last = standing_results(list(STUDIES)), _last_runs()
    keys = {key for study in STUDIES.values() for key in study.publications}
    publications = {publication.key: publication for publication in named_publications(keys)}
    by_slug = {strategy.slug: strategy for strategy in strategies}
    return [
        Card(
            study,
            [publications[key] for key in study.publications if key in publications],
            [by_slug[known] for known in study.strategies if known in by_slug],
            results.get(slug),
            last.get(slug, []),
        )
        for slug, study in STUDIES.items()
    ]


def _last_runs() -> dict[str, list[Run]]:
    """Return the newest runs of each study that people started, in whatever state."""
    place = Window(
        RowNumber(), partition_by="study", order_by=[F("created").desc(), F("id").desc()]
    )
    started = Run.objects.from_origin(Origin.HERE)
    runs: dict[str, list[Run]] = {}
    for run in for_list(started.alias(place=place).filter(place__lte=LAST_RUNS)):
        runs.setdefault(run.study, []).append(run)
    return runs
