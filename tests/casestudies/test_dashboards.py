"""The dashboards: which runs share an axis, what is efficient, and what is drawn."""

import copy
import re
import time
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from casestudies.dashboards.charts.efficiency import efficient, efficient_by
from casestudies.dashboards.charts.figures import chart
from casestudies.dashboards.comparability import group_of
from casestudies.dashboards.metrics import shared
from casestudies.dashboards.objectives import NOTE, told_by
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.lab.metrics import PERPLEXITY, Metric
from casestudies.lab.result import MOST_MEASUREMENTS, MOST_POINTS
from casestudies.models import Run
from reviewapp.ui.plotly import figure
from reviewapp.ui.svg import drawing
from taxonomy.choices import Objective
from tests.casestudies.drawn import CURVE, GPU, board, drawn, measured_run, page
from tests.casestudies.making import ENVIRONMENT, NOON, a_finished_run, a_run
from tests.lab.declared import toy

SPARSEGPT = STUDIES["sparsegpt"]


# What is efficient


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6))))
def test_exactly_what_nothing_beats_is_efficient(costs: list[tuple[float, float]]) -> None:
    expected = [not any(dominates(other, cost) for other in costs) for cost in costs]
    assert efficient(costs) == expected


def test_a_metric_says_in_which_direction_it_is_better() -> None:
    low, high, neither = (
        Metric("m", "", direction, None, "counted", "")
        for direction in ("lower is better", "higher is better", "neither")
    )
    values = [(1.0, 1.0), (2.0, 2.0)]
    assert efficient_by(low, low, values) == [True, False]
    assert efficient_by(high, high, values) == [False, True]
    assert efficient_by(low, high, values) == [True, True]
    assert efficient_by(low, neither, values) is None


@pytest.mark.django_db
def test_efficient_variants_are_marked_in_words_too(client: Client) -> None:
    measured_run()
    marks = {point.variant: point.efficient for point in board().plots[0].points}
    assert marks == {"magnitude": True, "wanda": False, "sparsegpt": True}
    assert page(client).count("Pareto-efficient</th>") == 1  # no line over time has such a column
    undirected = board("x=sparsity").plots[0]
    assert [point.efficient for point in undirected.points] == [None]
    shown = page(client, "x=sparsity")
    assert "neither more nor less sparsity is better" in shown
    assert "Pareto-efficient</th>" not in shown


@pytest.mark.django_db
def test_a_code_of_a_rounded_model_has_the_quality_of_that_model() -> None:
    a_finished_run(
        "qmoe",
        [
            ("loss increase", "gptq", 0.02),
            ("bits per weight", "gptq", 0.9, {"code": "rans"}),
            ("bits per weight", "int8", 8.0),
        ],
        environment={**ENVIRONMENT, "model": {"name": "none", "sha256": ""}},
    )
    [point] = board("study=qmoe").plots[0].points
    assert (point.variant, point.x, point.y) == ("gptq, rans", 0.9, 0.02)


@pytest.mark.django_db
def test_a_line_parts_what_is_efficient_from_what_is_worse_on_both_axes() -> None:
    measured_run()
    [drawing_of, *_] = board().charts
    assert [t.name for t in drawing_of.traces] == [
        "magnitude",
        "wanda",
        "sparsegpt",
        "Pareto-efficient",
    ]
    assert [mark.hollow for t in drawing_of.traces[:-1] for mark in t.marks] == [False, True, False]
    front = drawing_of.traces[-1]
    # The shorter time, then along its row to where the better quality begins.
    assert ([(mark.x, mark.y) for mark in front.marks], front.step) == ([(2, 26), (15, 1.5)], "hv")
    [plot, *_] = board().plots
    more_is_better = chart(replace(plot, better="higher is better"), ["wanda"])
    assert more_is_better.traces[-1].step == "vh"


@pytest.mark.django_db
def test_a_single_efficient_variant_makes_no_line() -> None:
    a_finished_run(measured=[("perplexity ratio", "wanda", 2.0), ("compression time", "wanda", 3)])
    assert [trace.name for trace in board().charts[0].traces] == ["wanda"]


# What is comparable

DIFFERENT: list[dict[str, Any]] = [
    {"hardware": GPU},
    {"environment": {"precision": "bfloat16"}},
    {"environment": {"model": {"name": "Example-135M", "sha256": "cc" * 32}}},
    {"environment": {"text": {"name": "Example text", "sha256": "cc" * 32}}},
    {"parameters": {"window": 512}},
    {"parameters": {"layers": 1}},
]
SAME: list[dict[str, Any]] = [
    {"preset": "full", "seed": 7},
    {"environment": {"model": {"name": "the same file elsewhere", "sha256": "aa" * 32}}},
    {"environment": {"commit": "fedcba"}},
    {"parameters": {"sparsity": 0.7, "pattern": "2:4"}},
]


def unsaved(change: dict[str, Any]) -> Run:
    parameters = SPARSEGPT.check("quick", {}).model_dump(mode="json")
    plain: dict[str, Any] = {
        "study": "sparsegpt",
        "preset": "quick",
        "hardware": "Example Processor, 2 cores, 2 threads",
        "environment": copy.deepcopy(ENVIRONMENT),
        "parameters": parameters,
    }
    merged = {
        key: {**plain[key], **value} if isinstance(value, dict) else value
        for key, value in change.items()
    }
    return Run(**{**plain, **merged})


@pytest.mark.parametrize("change", DIFFERENT)
def test_runs_that_differ_in_what_a_number_depends_on_are_apart(change: dict[str, Any]) -> None:
    plain, other = group_of(unsaved({}), SPARSEGPT), group_of(unsaved(change), SPARSEGPT)
    assert plain != other
    assert plain.key != other.key
    assert plain.differences(other) != []


@pytest.mark.parametrize("change", SAME)
def test_runs_that_differ_in_how_they_prune_are_comparable(change: dict[str, Any]) -> None:
    plain, other = group_of(unsaved({}), SPARSEGPT), group_of(unsaved(change), SPARSEGPT)
    assert plain == other
    assert plain.key == other.key
    assert plain.differences(other) == []


@pytest.mark.django_db
def test_only_runs_comparable_with_the_newest_are_drawn_unless_asked(client: Client) -> None:
    old, gpu, new = measured_run(0), measured_run(1, hardware=GPU), measured_run(2)
    assert drawn() == {old.pk, new.pk}
    shown = page(client)
    assert "2 runs drawn; 1 run not comparable with them and left out." in shown
    table = shown.partition('class="data dash-groups"')[2].partition("</table>")[0]
    assert re.findall(r'href="/runs/(\d+)/"', table) == [str(new.pk), str(gpu.pk)]
    assert "<td>hardware</td>" in table
    [(_, apart, url)] = board().others
    assert apart == ["hardware"]
    assert drawn(url.partition("?")[2]) == {gpu.pk}
    assert drawn("together=1") == {old.pk, gpu.pk, new.pk}


@pytest.mark.django_db
def test_runs_drawn_together_on_request_say_so_on_the_page_and_in_the_chart(
    client: Client,
) -> None:
    measured_run(0)
    assert "not comparable" not in board("together=1").charts[0].x_note
    measured_run(1, hardware=GPU)
    assert "Not comparable, drawn together on request." in page(client, "together=1")
    for each in board("together=1").charts:
        assert "not comparable" in figure(each)["layout"]["xaxis"]["title"]["text"]
        assert "not comparable" in drawing(each)
    for each in board().charts:
        assert "not comparable" not in str(figure(each)) + drawing(each)


@pytest.mark.django_db
def test_drawing_together_is_offered_only_where_an_axis_is_shared_by_what_is_apart(
    client: Client,
) -> None:
    def offered(query: str) -> bool:
        return 'name="together"' in page(client, query)

    measured_run(0)
    a_finished_run("qmoe", [], environment={**ENVIRONMENT, "model": {"name": "none", "sha256": ""}})
    assert not offered("study=sparsegpt")
    assert not offered("study=all")
    assert not offered("study=all&x=perplexity")
    assert offered("study=all&x=perplexity&y=peak+memory")
    measured_run(1, hardware=GPU)
    assert offered("study=sparsegpt")


@pytest.mark.django_db
def test_a_group_that_no_longer_exists_is_said_to_be_missing(client: Client) -> None:
    measured_run()
    assert "No run that passes the filters belongs to the group" in page(client, "group=0123456789")
    assert "belongs to the group" not in page(client)


# What is drawn


@pytest.mark.django_db
def test_only_finished_runs_of_the_study_are_drawn() -> None:
    run = measured_run()
    a_run(state="failed")
    a_run(state="running")
    a_finished_run("qmoe", [])
    assert drawn() == {run.pk}


@pytest.mark.django_db
def test_filters_leave_what_they_name_and_count_what_they_would_leave() -> None:
    mine, shipped = measured_run(0), measured_run(1, reference="sparsegpt-quick")
    gpu = measured_run(2, hardware=GPU, device="cuda", preset="full")
    assert drawn("runs=reference") == {shipped.pk}
    assert drawn("runs=own&device=cpu") == {mine.pk}
    assert drawn(f"hardware={GPU}") == {gpu.pk}
    assert drawn("preset=full") == {gpu.pk}
    facets = {facet.key: facet for facet in board("device=cpu").facets}
    assert {o.value: o.count for o in facets["runs"].options} == {"own": 1, "reference": 1}
    assert {o.value: o.count for o in facets["device"].options} == {"cpu": 2, "cuda": 1}
    assert {o.value: o.count for o in facets["hardware"].options}[GPU] == 0


def choices(html: str, name: str) -> dict[str, str]:
    """What a menu of the form offers, and of each choice whether it is the chosen one."""
    [menu] = re.findall(rf'<select id="dash-{name}".*?</select>', html, re.DOTALL)
    return {
        label: mark for mark, label in re.findall(r'<option value="[^"]*"( selected)?>(.*?)<', menu)
    }


@pytest.mark.django_db
def test_a_menu_counts_by_all_the_other_filters_and_keeps_what_is_chosen(client: Client) -> None:
    measured_run(0, hardware="")
    measured_run(1, device="cuda")
    measured_run(2, device="cuda", preset="full")
    measured_run(3, device="cuda", preset="full", reference="sparsegpt-full")
    shown = page(client, "device=cpu&preset=full&runs=own")
    assert choices(shown, "device") == {
        "all devices": "",
        "CPU (0)": " selected",
        "GPU (CUDA) (1)": "",
    }
    assert choices(shown, "preset") == {"all presets": "", "quick (1)": "", "full (0)": " selected"}
    assert choices(shown, "runs") == {
        "wherever they were made": "",
        "made here (0)": " selected",
        "reference runs (0)": "",
    }
    assert "not reported (0)" in choices(shown, "hardware")
    gone = page(client, "hardware=Sold+Processor")
    assert choices(gone, "hardware")["Sold Processor (0)"] == " selected"


@pytest.mark.django_db
def test_across_studies_the_page_says_which_has_no_run_and_which_none_that_passes(
    client: Client,
) -> None:
    def missing(html: str) -> list[str]:
        return re.findall(r'<p class="quiet">(QMoE|SparseGPT):.*?(not run|no run passes)', html)

    measured_run(device="cuda")
    assert missing(page(client, "study=all")) == [("QMoE", "not run")]
    a_finished_run("qmoe", [])
    assert missing(page(client, "study=all")) == []
    assert missing(page(client, "study=all&device=cuda")) == [("QMoE", "no run passes")]


@pytest.mark.django_db
def test_runs_drawn_together_follow_one_another_in_time_whatever_their_group() -> None:
    old, gpu, new = measured_run(0), measured_run(1, hardware=GPU), measured_run(2)
    points = board("together=1").plots[1].points
    assert [p.run for p in points if p.variant == "wanda"] == [old, gpu, new]


@pytest.mark.django_db
def test_values_relative_to_a_baseline_are_divided_by_its_own_in_the_same_run(
    client: Client,
) -> None:
    measured_run()
    a_finished_run(measured=[("perplexity", "wanda", 26.0)], finished=NOON)
    over_time = board("y=perplexity&baseline=dense").plots[1]
    assert {point.variant: (point.y, point.measured) for point in over_time.points} == {
        "dense": (1.0, 13.0),
        "wanda": (2.0, 26.0),
        "sparsegpt": (1.5, 19.5),
    }
    assert over_time.y.label == "perplexity, relative to dense (x)"
    headers = [board(f"y=perplexity{query}").charts[0].header for query in ("", "&baseline=dense")]
    assert ["Measured" in header for header in headers] == [False, True]
    assert "1 run has no perplexity of “dense”" in page(client, "y=perplexity&baseline=dense")
    a_finished_run(measured=[("perplexity", "dense", 0.0), ("perplexity", "wanda", 1.0)])
    shown = page(client, "y=perplexity&baseline=dense")
    assert "2 runs have no perplexity of “dense” above zero to divide by." in shown


@pytest.mark.django_db
def test_runs_follow_one_another_in_time_and_one_run_makes_no_line(client: Client) -> None:
    first = measured_run(0)
    assert "There is one run so far, hence no line." in page(client)
    second = measured_run(1)
    over_time = [p.run.pk for p in board().plots[1].points if p.variant == "wanda"]
    assert over_time == [first.pk, second.pk]
    assert "There is one run" not in page(client)


@pytest.mark.django_db
def test_the_curves_of_the_newest_run_stand_out_before_those_of_the_others() -> None:
    measured_run(0)
    told = "The newest run’s lines are solid, those of the others dashed."
    assert told not in board().charts[-1].note
    newest = measured_run(1)
    curves = board().charts[-1]
    assert told in curves.note
    looks = {trace.marks[0].href: (trace.line, trace.faint) for trace in curves.traces}
    assert looks.pop(newest.get_absolute_url()) == ("solid", False)
    assert list(looks.values()) == [("dash", True)]


@pytest.mark.django_db
def test_of_a_studys_curves_the_chosen_one_is_drawn_else_the_first(client: Client) -> None:
    other = {**CURVE[0], "name": "reconstruction error by layer"}
    a_finished_run(measured=[], series=[*CURVE, other])
    first, second = "<h3>Perplexity by sparsity</h3>", "<h3>Reconstruction error by layer</h3>"
    shown = page(client)
    assert first in shown
    assert second not in shown
    shown = page(client, "curve=reconstruction+error+by+layer")
    assert second in shown
    assert first not in shown


@pytest.mark.django_db
def test_for_a_chart_without_points_the_page_says_why_there_is_none(client: Client) -> None:
    a_finished_run(measured=[("perplexity ratio", "wanda", 2.0)])
    shown = unescape(page(client))
    assert "“Perplexity ratio against compression time” is not drawn" in shown
    assert "no variant of these runs has both." in shown
    assert "“Perplexity by sparsity” is not drawn: these runs have no such curve." in shown
    assert "over the runs” is not drawn" not in shown
    shown = unescape(page(client, "baseline=dense"))
    assert "has both beside one of “dense” above zero." in shown
    assert "these runs have no value beside one of “dense” above zero." in shown


@pytest.mark.django_db
def test_what_a_study_says_of_measured_values_is_not_said_of_ratios(client: Client) -> None:
    measured_run()
    hint = "How far SparseGPT lies below the simpler methods"
    assert hint in page(client)
    assert hint not in page(client, "baseline=wanda")
    assert hint not in page(client, "x=sparsity")


@pytest.mark.django_db
def test_every_point_names_its_run_its_hardware_and_its_date(client: Client) -> None:
    run = measured_run()
    for each in board().charts:
        for row in each.rows:
            assert f'href="/runs/{run.pk}/"' in row[0]
            assert row[-3:-1] == [run.hardware, "2026-03-01 12:00 UTC"]
    assert f'<td><a href="/runs/{run.pk}/">run {run.pk}</a></td><td>wanda</td>' in page(client)


@pytest.mark.django_db
def test_what_a_run_says_is_shown_as_text(client: Client) -> None:
    a_finished_run(
        measured=[
            ("perplexity ratio", "<script>alert(1)</script>", 2.0),
            ("compression time", "<script>alert(1)</script>", 3.0),
        ],
        hardware="<img src=x>",
    )
    shown = page(client)
    assert "<script>alert" not in shown
    assert "<img src=x>" not in shown
    assert "&lt;script&gt;alert(1)" in shown


# Across studies


@pytest.mark.django_db
def test_studies_share_an_axis_only_where_metric_and_unit_are_the_same(client: Client) -> None:
    names = {metric.name for metric in shared(STUDIES.values())}
    assert "perplexity" in names
    assert "compound compression" not in names
    measured_run(0)
    assert NOTE not in page(client)
    assert NOTE in page(client, "study=all")
    assert "choose its axes" in page(client, "study=all")
    assert "choose its axes" not in page(client, "study=all&x=peak+memory&y=perplexity")


@pytest.mark.django_db
def test_across_studies_each_objective_shows_what_each_gained_over_its_own_baseline() -> None:
    measured_run(0)
    here = measured_run(1)
    environment = {**ENVIRONMENT, "model": {"name": "none", "sha256": ""}}
    there = a_finished_run(
        "qmoe",
        [
            ("loss increase", "rtn", 0.06),
            ("loss increase", "gptq", 0.02),
            ("product speed", "paper", 1.2, {"size": 16}),
            ("product speed", "paper", 1.5, {"size": 128}),
            ("product speed", "int8", 2.5, {"size": 128}),
        ],
        environment=environment,
    )
    found = {
        plot.title: {point.variant: (point.run, pytest.approx(point.x)) for point in plot.points}
        for plot in board("study=all").plots
    }
    assert found == {
        "Quality": {
            "SparseGPT, sparsegpt: perplexity ratio, beside dense": (here, 1 / 1.5),
            "SparseGPT, sparsegpt: perplexity, beside dense": (here, 13 / 19.5),
            "QMoE, gptq: loss increase, beside rtn": (there, 3),
        },
        "Throughput": {"QMoE, paper, 128 MiB: product speed, beside dense": (there, 1.5)},
        "Cost": {"SparseGPT, sparsegpt: compression time, beside magnitude": (here, 2 / 15)},
    }


@pytest.mark.django_db
def test_a_factor_is_drawn_beside_the_line_of_its_own_baseline() -> None:
    run = measured_run()
    each = next(one for one in board("study=all").charts if one.title == "Cost")
    assert (each.kind, each.reference) == ("dots", 1)
    [row] = each.traces
    [mark] = row.marks
    assert row.name == "0.1333 x · SparseGPT, sparsegpt: compression time, beside magnitude"
    assert mark.x == pytest.approx(2 / 15)
    assert (mark.label[1], mark.href) == ("0.1333 x", run.get_absolute_url())


def test_no_study_tells_its_result_by_what_has_no_direction() -> None:
    for study in STUDIES.values():
        assert told_by(study), study.slug
        assert all(metric.objective in set(Objective.values) for metric in told_by(study))


@pytest.mark.django_db
def test_studies_with_other_models_are_drawn_together_only_on_request() -> None:
    values = [("perplexity", "dense", 13.0), ("peak memory", "dense", 900.0)]
    one = a_finished_run("sparsegpt", values)
    other = a_finished_run(
        "qmoe", [(metric, "trained", value) for metric, _, value in values], finished=NOON
    )
    asked = "study=all&x=peak+memory&y=perplexity"
    assert drawn(asked) == {one.pk}
    assert drawn(f"{asked}&together=1") == {one.pk, other.pk}
    assert board(asked).plots[0].title == "Perplexity against peak memory, all studies"
    variants = {point.variant for point in board(f"{asked}&together=1").plots[0].points}
    assert variants == {"SparseGPT: dense", "QMoE: trained"}


def test_a_metric_with_another_unit_or_direction_is_not_shared() -> None:
    def study(unit: str, direction: Any) -> Study:
        return toy(metrics=(Metric("size", unit, direction, None, "counted", ""), PERPLEXITY))

    def names(*studies: Study) -> set[str]:
        return {metric.name for metric in shared(studies)}

    lower = study("bits", "lower is better")
    assert names(lower, study("bits", "lower is better")) == {"size", "perplexity"}
    assert names(lower, study("bytes", "lower is better")) == {"perplexity"}
    assert names(lower, study("bits", "higher is better")) == {"perplexity"}
    assert names(lower) == set()


@pytest.mark.django_db
def test_many_runs_of_one_study_do_not_hide_another(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("casestudies.dashboards.queries.MOST_RUNS", 2)
    a_finished_run("qmoe", [("loss increase", "gptq", 0.02), ("loss increase", "rtn", 0.9)])
    several = [measured_run(hours) for hours in (1, 2, 3)]
    shared_page = page(client, "study=all")
    assert "QMoE, gptq: loss increase" in shared_page
    assert drawn("study=sparsegpt") == {run.pk for run in several[1:]}


@pytest.mark.django_db
def test_a_chart_says_in_which_settings_its_runs_differ() -> None:
    usual = SPARSEGPT.check("quick", {}).model_dump(mode="json")
    measured_run(0, parameters=usual)
    assert "differ in" not in board().charts[0].note
    measured_run(1, parameters={**usual, "sparsity": 0.7})
    assert "The runs differ in sparsity;" in board().charts[0].note
    assert "sparsity 0.7" in str(board().charts[0].rows)


@pytest.mark.django_db
def test_as_large_a_result_as_may_be_stored_is_drawn_in_part_and_in_seconds(
    client: Client,
) -> None:
    each = MOST_MEASUREMENTS // 4
    measured = [
        (metric, variant, 1.0 + (n + 6) % each, {"layer": n})
        for metric in ("perplexity ratio", "compression time")
        for variant in ("wanda", "sparsegpt")
        for n in range(each)
    ]
    points = [[0.1 + n, 1.0 + n] for n in range(MOST_POINTS)]
    run = a_finished_run(measured=measured, series=[{**CURVE[0], "points": points}])
    began = time.thread_time()
    whole = "/dashboards/?study=sparsegpt", f"/runs/{run.pk}/", "/case-studies/sparsegpt/"
    for address in whole:
        answer = client.get(address)
        assert "Of 20,000 numbers one in 20 is drawn" in answer.content.decode()
        assert len(answer.content) < 4_000_000, address
    assert time.thread_time() - began < 10, "each point looks at all the others"
    efficient = f"layer {each - 6}"  # which the stride steps over
    assert efficient in client.get(whole[0]).content.decode()
    file = client.get("/dashboards/export.csv?study=sparsegpt").getvalue()
    assert file.count(b"\n") > MOST_POINTS, "the files have all"
