"""Everything that one address of the dashboards shows; the page and the exports both use it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from casestudies.dashboards import queries
from casestudies.dashboards.charts.drawing import (
    MOST_OVERLAID,
    Subject,
    over_time,
    overlaid,
    pareto,
)
from casestudies.dashboards.charts.figures import chart
from casestudies.dashboards.charts.plots import Plot
from casestudies.dashboards.comparability import ComparableRuns, Member, grouped
from casestudies.dashboards.facets import Facet, facets, passes
from casestudies.dashboards.objectives import by_objective, told_by
from casestudies.dashboards.selection import Selection
from casestudies.lab.contract import SMOKE, Study
from casestudies.models import Run
from casestudies.runs.charts import look_for
from reviewapp.ui.charts import Chart


@dataclass(frozen=True)
class Listed:
    """A group with its runs, latest first."""

    group: ComparableRuns
    members: Sequence[Member]

    @property
    def number(self) -> int:
        return self.members[0].number

    @property
    def newest(self) -> Run:
        return self.members[0].run

    @property
    def only_tests(self) -> bool:
        """Return whether its runs show that a study works, and nothing of what it finds."""
        return all(member.run.preset == SMOKE for member in self.members)


@dataclass(frozen=True)
class Board:
    """The runs that pass the filters, by group, and the plots of those that are drawn.

    The group of the newest run is first, those that have smoke runs only come after the others, and
    those of contributed runs last.
    """

    selection: Selection
    facets: Sequence[Facet]
    passing: int
    groups: Sequence[Listed]
    plots: Sequence[Plot]

    @property
    def runs(self) -> int:
        """Return how many of the passing runs are looked at."""
        return sum(len(listed.members) for listed in self.groups)

    @property
    def exists(self) -> bool:
        """Return whether there is any run, filters or not."""
        return any(option.count for facet in self.facets for option in facet.options)

    @property
    def shown(self) -> Listed | None:
        """Return the group that is drawn: the one asked for, else the first."""
        asked = (listed for listed in self.groups if listed.group.key == self.selection.group)
        return next(asked, self.groups[0] if self.groups else None)

    @property
    def guarded(self) -> bool:
        """Return whether there are runs that are kept off a common axis unless asked for."""
        common = self.selection.study or (self.selection.x and self.selection.y)
        return bool(common) and len(self.groups) > 1

    @property
    def together(self) -> bool:
        """Return whether runs are drawn on one axis that are not comparable."""
        return self.selection.together and self.guarded

    @property
    def not_run(self) -> list[Study]:
        """Return the studies that have no run among those that pass."""
        run = {member.run.study for listed in self.groups for member in listed.members}
        return [study for study in self.selection.studies if study.slug not in run]

    @property
    def missing_group(self) -> bool:
        """Return whether the address asks for a group that no run belongs to."""
        return bool(self.selection.group) and self.selection.group not in {
            listed.group.key for listed in self.groups
        }

    @property
    def others(self) -> list[tuple[Listed, list[str], str]]:
        """Return each group that is not the drawn one, what sets it apart, and its address."""
        shown = self.shown
        return [
            (
                listed,
                listed.group.differences(shown.group),
                self.selection.but(group=listed.group.key, together=False).url,
            )
            for listed in self.groups
            if shown and listed is not shown
        ]

    @property
    def drawn(self) -> list[Run]:
        """Return the run of each point that is drawn."""
        return [point.run for plot in self.plots for point in plot.points]

    @property
    def differences(self) -> list[str]:
        """Return the names of all that the groups do not agree in."""
        return list(dict.fromkeys(name for _, names, _ in self.others for name in names))

    @cached_property
    def charts(self) -> list[Chart]:
        """Return the plots that have points, as charts."""
        declared = [v.name for study in self.selection.studies for v in study.variants]
        place = {name: n for n, name in reversed(list(enumerate(declared)))}
        found = {point.variant: point.base for plot in self.plots for point in plot.points}
        order = sorted(found, key=lambda label: (place.get(found[label], len(place)), label))
        return [chart(plot, order) for plot in self.plots if plot.points]

    @property
    def not_drawn(self) -> list[str]:
        """Return in words why a chart is missing."""
        baseline = self.selection.baseline
        beside = f" beside one of “{baseline}” above zero" if baseline else ""
        reasons = {
            "marks": f"no variant of these runs has both{beside}",
            "over runs": f"these runs have no value{beside}",
            "of runs": "these runs have no such curve",
        }
        return [
            f"“{plot.title}” is not drawn: {reasons[plot.kind]}."
            for plot in self.plots
            if not plot.points
        ]


def build(selection: Selection) -> Board:
    """Return what the selection shows, with the same number of queries however many runs."""
    slugs = [study.slug for study in selection.studies]
    counted = queries.counts(slugs)
    runs = queries.newest(slugs, selection.filters)
    groups = [Listed(group, members) for group, members in grouped(runs).items()]
    groups.sort(key=lambda listed: (listed.group.contributed, listed.only_tests))
    passing = sum(n for values, n in counted if passes(values, selection.filters))
    board = Board(selection, facets(counted, selection.filters), passing, groups, ())
    plots = _of_study(board, selection.study) if selection.study else _across(board)
    return Board(selection, board.facets, passing, groups, plots)


def _drawn(board: Board) -> Sequence[Member]:
    """Return the runs to draw on one axis, latest first."""
    if board.together:
        members = [member for listed in board.groups for member in listed.members]
        return sorted(members, key=lambda m: (m.run.finished, m.run.pk), reverse=True)
    return board.shown.members if board.shown else []


def _of_study(board: Board, study: Study) -> list[Plot]:
    x, y = board.selection.x, board.selection.y
    drawn = _drawn(board)
    if not drawn or x is None or y is None:
        return []
    measured = queries.measured([member.run for member in drawn], [x, y])
    subject = Subject(drawn, measured, board.selection.baseline)
    trade = pareto(subject, x, y, "pareto", f"{y.name} against {x.name}")
    # What the study says of the values as measured need not hold of ratios.
    sentence = "" if subject.baseline else look_for(study, x=x.name, y=y.name)
    plots = [replace(trade, look_for=sentence), over_time(subject, y)]
    if study.series:
        plots.append(_curves(drawn, study, board.selection.curve))
    return plots


def _curves(drawn: Sequence[Member], study: Study, name: str) -> Plot:
    series = next((s for s in study.series if s.name == name), study.series[0])
    found = queries.curves([member.run for member in drawn[:MOST_OVERLAID]], series.name)
    return overlaid(drawn, study, series, found)


def _across(board: Board) -> list[Plot]:
    """Return what studies share in one plot, if its axes are chosen, then each objective."""
    selection = board.selection
    runs = [member.run for listed in board.groups for member in listed.members]
    asked = [metric for metric in (selection.x, selection.y) if metric]
    told = [metric for study in selection.studies for metric in told_by(study)]
    measured = queries.measured(runs, [*asked, *told])
    plots = by_objective(
        [(study, _standing(board, study)) for study in selection.studies], measured
    )
    if len(asked) == 2:
        names = {study.slug: study.full_name for study in selection.studies}
        subject = Subject(_drawn(board), measured, names=names)
        title = f"{asked[1].name} against {asked[0].name}, all studies"
        plots.insert(0, pareto(subject, asked[0], asked[1], "shared", title))
    return plots


def _standing(board: Board, study: Study) -> Sequence[Member]:
    """Return the drawn group's runs of a study, else those of the study's first group."""
    candidates = [board.shown, *board.groups] if board.shown else []
    of_study = (
        [member for member in listed.members if member.run.study == study.slug]
        for listed in candidates
    )
    return next(filter(None, of_study), [])
