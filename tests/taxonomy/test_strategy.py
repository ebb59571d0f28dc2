"""The page of one strategy: how strong its evidence is, its chart, its claims, its files."""

import csv
import io
import re
from collections import Counter
from html import unescape
from typing import Any

import bibtexparser
import pytest
import rispy
from django.test import Client

from benchmarks.synthetic import add_publications
from reviewapp.corpus.models import Publication, Review
from taxonomy.choices import AxisKind, Direction, Scope, Status
from taxonomy.claims.evidence.gathering import MOST_DRAWN, MOST_READ, evidence_of
from taxonomy.claims.evidence.plot import Dot, plot_of
from taxonomy.claims.evidence.sentence import verdict_of
from taxonomy.claims.evidence.wording import EFFECTS
from taxonomy.claims.words import WORDS
from taxonomy.models import (
    Attribution,
    Axis,
    Claim,
    ClaimDevice,
    Evidence,
    Outcome,
    Quantity,
    Remark,
    SecondReading,
    Strategy,
)
from tests import factories
from tests.casestudies.making import a_finished_run
from tests.conftest import real_fixtures
from tests.factories import publication

pytestmark = pytest.mark.django_db


def page(client: Client, slug: str) -> str:
    response = client.get(f"/taxonomy/{slug}/")
    assert response.status_code == 200
    return response.content.decode()


def text(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def table(html: str) -> str:
    found = re.search(r'<table class="data strategy-claims">.*?</table>', html, re.DOTALL)
    return found[0] if found else ""


def codes(html: str) -> list[str]:
    return re.findall(r'<tr id="claim-([^"]+)">', html)


def number(word: str) -> int:
    word = word.lower()
    return (
        WORDS.index(word) if word in WORDS else {"both": 2, "its one": 1}.get(word, 0) or int(word)
    )


def said_counts(sentences: str) -> Counter[str]:
    """How many claims the sentences give to each scope."""
    patterns = {
        Scope.ISOLATED: r"([\w-]+) claims?,? (?:the two ends of one range, )?isolates? ",
        Scope.COMBINED: r"([\w-]+)(?: claims?)? combines? it with",
        Scope.AGAINST_ANOTHER: r"(Its one|Both|[\w-]+)(?: claims?)? compares? whole",
    }
    found = {s: re.search(p, sentences, re.IGNORECASE) for s, p in patterns.items()}
    return Counter({s: number(m[1]) for s, m in found.items() if m and number(m[1])})


def test_sentence_chart_and_table_of_every_strategy_agree(client: Client, review: Review) -> None:
    for strategy in Strategy.objects.all():
        html = page(client, strategy.slug)
        attributed = list(
            Claim.objects.effects_of(strategy.pk).select_related("publication", "axis__quantity")
        )
        assert sorted(codes(html)) == sorted(claim.code for claim in attributed)
        evidence = evidence_of(strategy.pk)
        verdict = verdict_of(evidence, strategy.name, 1)
        assert verdict.strong in unescape(html)
        assert verdict.more in unescape(html)
        said = said_counts(f"{verdict.strong} {verdict.more}")
        assert said == Counter(claim.scope for claim in attributed), strategy
        for group in evidence.groups:
            assert {row.claim.axis_id for row in group.rows} == {group.axis.pk}
        chart = html.partition('id="evidence"')[2].partition("</figure>")[0]
        drawn = [claim for group in evidence.panels for m in group.marks for claim in m.claims]
        assert len(drawn) == len(set(drawn))
        assert all(c.axis.quantity.axis_kind == AxisKind.RATIO and c.plotted for c in drawn)
        lines = [*drawn, *(m for g in evidence.panels for m in g.measured)]
        assert chart.count("dot-row") <= len(lines)
        assert f"Drawn: {len(drawn)} of {len(attributed)} claims" in text(chart) or not drawn


def test_beside_its_claims_stand_their_studies_their_chances_and_who_makes_none(
    client: Client, review: Review
) -> None:
    told = Told()
    supported = told.add(study="sparsegpt", testable="model")
    told.add(study="sparsegpt", testable="gpu-only")
    waiting = told.add(study="zeta", testable="direction")
    told.add(study="zeta", testable="same-quantity")
    for study in ("beta", "alpha"):
        told.add(study=study, testable="direction")
    told.add(testable="no")
    tried(supported, Status.SUPPORTED)
    Outcome.objects.create(
        claim=waiting, run=a_finished_run().pk, study="zeta", status="not run", reason="too large"
    )
    for slug, claims in (("quantization", 2), ("pruning", 1), ("offloading", 1)):
        other = Strategy.objects.get(slug=slug)
        for claim in list(told.publication.claims.all())[:claims]:
            claim.attributions.create(strategy=other, position=1)
    hidden = Strategy.objects.get(slug="distillation")
    supported.attributions.create(strategy=hidden, position=2, counted=False)
    for n in range(13):
        made = publication(key=f"silent{n}", artifact_name=f"Silent{n}")
        Evidence.objects.create(publication=made, strategy=told.strategy)
    silent = Publication.objects.in_review().filter(strategies=told.strategy).count()
    html = page(client, told.strategy.slug)
    shown = text(html)
    found = re.findall(r'<div class="study-result">\s*<h3>(.*?)</h3>\s*<p[^>]*>(.*?)</p>', html)
    assert [text(said) for _, said in found] == [
        "1 supported 1 not tried yet",
        "1 too large 1 not tried yet",
        "1 not tried yet",
        "1 not tried yet",
    ]
    assert [text(study).split()[0] for study, _ in found[1:]] == ["Zeta", "Alpha", "Beta"]
    assert (
        "Of these claims: 1 tried, 4 could be tried on a CPU, 1 need a GPU, 1 cannot be tried"
    ) in shown
    related = html.partition('id="related"')[2].partition('id="how"')[0]
    assert text(related).endswith(
        "Quantization 2 shared claims Offloading 1 shared claim Pruning 1 shared claim <h2"
    )
    assert f"make these claims. {silent} are filed under it" in shown.replace("makes", "make")
    listed = re.search(r"attributed to it: (.*?) and (\d+) more\.", shown)
    assert listed
    assert len(listed[1].split(", ")) == 12
    assert int(listed[2]) == silent - 12
    assert silent > 12


def test_what_is_not_drawn_names_its_quantity_in_the_table(client: Client, review: Review) -> None:
    told = Told()
    drawn = [told.add(), told.add(ratio=3)]
    undrawn = told.add_without_factor()
    rows = re.findall(r'<tr id="claim-([^"]+)">(.*?)</tr>', page(client, told.strategy.slug), re.S)
    assert {code for code, row in rows if 'class="what"' in row} == {undrawn.code}
    assert {code for code, row in rows if 'class="what"' not in row} == {c.code for c in drawn}


def test_the_ends_of_a_range_are_one_mark(client: Client, review: Review) -> None:
    strategy = Strategy.objects.get(slug="pipeline-parallelism")
    marks = [mark for group in evidence_of(strategy.pk).panels for mark in group.marks]
    ends = {claim.pk: n for n, mark in enumerate(marks) for claim in mark.claims}
    ranges = [c for m in marks for c in m.claims if c.other_end_id]
    assert ranges
    assert all(ends[claim.pk] == ends[claim.other_end_id or 0] for claim in ranges)
    assert "Two claims, the two ends of one range, isolate" in page(client, "speculative-decoding")


def test_each_quantity_of_factors_has_its_words(review: Review) -> None:
    factors = Quantity.objects.filter(axis_kind=AxisKind.RATIO).values_list("slug", flat=True)
    assert set(factors) == set(EFFECTS)


def _attributed(slug: str, of: Publication, **values: object) -> Claim:
    speedup = Axis.objects.get(quantity__slug="speedup-end-to-end", phase="inference")
    facts = {
        "axis": speedup,
        "phase": "inference",
        "scope": "isolated",
        "ratio": 2,
        "plotted": values.get("ratio", 2),
        "ratio_rule": "factor",
        "ratio_how": "as published",
        "baseline": "without it",
        "baseline_kind": "unmodified",
        **values,
    }
    made = factories.claim(of, **facts)
    Attribution.objects.create(claim=made, strategy=Strategy.objects.get(slug=slug), position=0)
    return made


class Told:
    """What is said of a strategy of whose claims only those added here are left."""

    def __init__(self) -> None:
        self.strategy = Strategy.objects.get(slug="decentralized-execution")
        self.strategy.attributions.all().delete()
        self.publication = publication()

    def add(self, *, device: bool = False, **values: Any) -> Claim:
        made = _attributed(self.strategy.slug, values.pop("of", self.publication), **values)
        if device:
            ClaimDevice.objects.create(
                claim=made, role="stated", position=0, name="X", is_product=True
            )
        return made

    def add_without_factor(self, **values: Any) -> Claim:
        return self.add(plotted=None, ratio=None, ratio_rule="none", baseline_kind="", **values)

    def said(self, filed: int = 1) -> list[str]:
        """Return each sentence, with "it" for the strategy."""
        verdict = verdict_of(evidence_of(self.strategy.pk), self.strategy.name, filed)
        said = f"{verdict.strong} {verdict.more}".replace("\u202f", " ").strip()
        return re.split(r"(?<=\.) ", said.replace("decentralized execution", "it"))


def tried(claim: Claim, *statuses: Status) -> None:
    """Have a run on a machine of its own find each of these of the claim."""
    for status in statuses:
        run = a_finished_run().pk
        Outcome.objects.create(
            claim=claim, run=run, study="x", hardware=f"of run {run}", status=status
        )


def test_what_does_not_isolate_a_strategy_is_said_of_one_two_and_many(review: Review) -> None:
    told = Told()
    assert told.said(0) == [
        "No claim can be attributed to it, and no publication of the review uses it."
    ]
    assert told.said(1) == ["No claim can be attributed to it; one publication uses it."]
    assert told.said(2) == ["No claim can be attributed to it; two publications use it."]
    told.add_without_factor(scope=Scope.AGAINST_ANOTHER)
    nowhere, differ = "No claim isolates it.", "whole systems that differ in it"
    assert told.said() == [nowhere, f"Its one claim compares {differ}; none gives a factor."]
    told.add(scope=Scope.AGAINST_ANOTHER, ratio=3)
    assert told.said() == [nowhere, f"Both claims compare {differ}: 3 × faster inference."]
    told.add(scope=Scope.AGAINST_ANOTHER, ratio=4)
    assert told.said() == [
        nowhere,
        f"All three claims compare {differ}: 3 to 4 × faster inference.",
    ]
    combined, alone = "with other strategies on the same system", "shown, but not its effect alone."
    rest = f"hree claims compare {differ} (3 to 4 × faster inference): {alone}"
    told.add_without_factor(scope=Scope.COMBINED)
    assert told.said() == [
        nowhere,
        f"One claim combines it {combined}; none gives a factor.",
        f"T{rest}",
    ]
    told.add(scope=Scope.COMBINED, ratio=5)
    assert told.said() == [
        nowhere,
        f"Two claims combine it {combined}: 5 × faster inference.",
        f"T{rest}",
    ]
    told.add()
    assert told.said()[-1] == (
        f"Two claims combine it with other strategies (5 × faster inference) and t{rest}"
    )


def test_what_isolates_a_strategy_is_said_of_one_two_and_many(review: Review) -> None:
    told = Told()
    first = told.add_without_factor()
    assert told.said() == [
        "One claim isolates it; it gives no factor.",
        "It names no device; it was not tried here.",
    ]
    tried(first, Status.SUPPORTED)
    assert told.said()[1] == "It names no device; it was tried here and is supported."
    other = told.add_without_factor(device=True)
    assert told.said() == [
        "Two claims isolate it; none gives a factor.",
        "One names its device; one was tried here and is supported.",
    ]
    first.attributions.all().delete()
    assert told.said()[1] == "It names its device; it was not tried here."
    faster = told.add(device=True)
    assert told.said() == [
        "Two claims isolate it; one gives a factor: 2 × faster inference.",
        "Both name their device; neither was tried here.",
    ]
    tried(other, Status.NOT_REPRODUCED)
    tried(faster, Status.NOT_REPRODUCED)
    assert told.said()[1] == "Both name their device; two were tried here and were not reproduced."
    fastest = told.add(ratio=7)
    tried(fastest, Status.SUPPORTED, Status.NOT_REPRODUCED)
    assert told.said() == [
        "Three claims isolate it; two give a factor: 2 to 7 × faster inference.",
        "Two name their device; three were tried here: two were not reproduced and one has runs"
        " that disagree.",
    ]
    third = told.add(ratio=5)
    other.attributions.all().delete()
    effect = "2 to 7 × faster inference"
    assert told.said()[0] == f"Three claims isolate it; all give a factor: {effect}."
    third.attributions.all().delete()
    assert told.said()[0] == f"Two claims isolate it; both give a factor: {effect}."
    told.add(scope=Scope.COMBINED)
    assert told.said()[-1] == (
        "One claim combines it with other strategies (2 × faster inference):"
        " shown, but not its effect alone."
    )


def test_of_many_effects_the_three_of_most_claims_are_said(review: Review) -> None:
    told = Told()
    for slug, ratios in (
        ("energy-reduction", (8,)),
        ("model-size-reduction", (3, 4)),
        ("memory-reduction", (2, 5, 6)),
    ):
        axis = Axis.objects.filter(quantity__slug=slug).earliest("pk")
        for ratio in ratios:
            told.add(axis=axis, ratio=ratio)
    effects = re.sub(r"(?<= for )[\w-]+", "X", told.said()[0].partition(": ")[2])
    said = "2 to 6 × less memory for X, 3 to 4 × smaller models and 8 × less energy for X."
    assert effects == said
    for ratio in (9, 10):
        told.add(ratio=ratio)
    assert told.said()[0].endswith(" and more.")
    assert "9 to 10 × faster inference" in told.said()[0]
    assert "energy" not in told.said()[0]
    told.strategy.attributions.all().delete()
    told.add()
    Quantity.objects.filter(slug="speedup-end-to-end").update(slug="of-tomorrow")
    effect = "2 × (end-to-end speed-up, inference)"
    assert told.said()[0] == f"One claim isolates it: {effect}.", "one without words of its own"


def test_what_is_slower_is_drawn_left_of_one_and_said_to_be_less(review: Review) -> None:
    made = publication()
    for ratio in (0.5, 3):
        _attributed("decentralized-execution", made, ratio=ratio, value=ratio)
    plot = plot_of(evidence_of(Strategy.objects.get(slug="decentralized-execution").pk))
    assert plot
    (panel,) = plot.panels
    low = min(dot.shape.low for dot in panel.dots)
    assert 0 < low < plot.one == panel.slower < 100
    for ratio in (1, 2):
        axis = Axis.objects.filter(quantity__slug="memory-reduction").earliest("pk")
        _attributed("decentralized-execution", made, ratio=ratio, value=ratio, axis=axis)
    plot = plot_of(evidence_of(Strategy.objects.get(slug="decentralized-execution").pk))
    assert plot
    assert sorted(panel.slower for panel in plot.panels) == [0, plot.one], "1 × is not slower"


def test_a_value_is_written_where_there_is_room_and_said_how_sure(review: Review) -> None:
    told = Told()
    told.add(ratio=4, hardware="H")
    told.add(ratio=6, qualifier="at-least")
    told.add(ratio=8, qualifier="up-to", other_plotted=5)

    def drawn() -> list[Dot]:
        plot = plot_of(evidence_of(told.strategy.pk))
        assert plot
        assert [tick.factor for tick in plot.ticks] == [1, 2, 4, 8]
        assert (plot.ticks[0].at, plot.ticks[-1].at) == (plot.one, 100)
        assert [(panel.slower, panel.left_out) for panel in plot.panels] == [(0, 0)]
        return list(plot.panels[0].dots)

    first, least, best_case = (dot.shape for dot in drawn())
    assert [shape.arrow for shape in (first, least, best_case)] == [False, True, False]
    assert [shape.hollow for shape in (first, least, best_case)] == [False, False, True]
    assert [shape.is_range for shape in (first, least, best_case)] == [False, False, True]
    assert [(label.at, label.is_left) for label in first.labels] == [(first.high, False)]
    assert [(label.at, label.is_left) for label in best_case.labels] == [(best_case.low, True)]


def test_conditions_are_said_where_two_lines_would_read_alike(review: Review) -> None:
    told = Told()
    told.add(ratio=2, conditions="short texts")
    other = told.add(ratio=3, conditions="long texts", hardware="H")

    def said() -> list[str]:
        plot = plot_of(evidence_of(told.strategy.pk))
        assert plot
        return [dot.conditions for dot in plot.panels[0].dots]

    assert said() == ["", ""]
    Claim.objects.filter(pk=other.pk).update(hardware="")
    assert said() == ["short texts", "long texts"]


def test_what_was_doubted_of_a_claim_is_said_beside_it(review: Review) -> None:
    told = Told()
    claim = told.add()

    def doubts() -> tuple[str, ...]:
        (row,) = evidence_of(told.strategy.pk).rows
        return row.doubts

    doubt = Remark.objects.create(
        publication=claim.publication, claim=claim, kind="doubt", text="Odd."
    )
    assert doubts() == ("Odd.",)
    Remark.objects.filter(pk=doubt.pk).update(settled=True)
    assert doubts() == ()
    second = SecondReading.objects.create(claim=claim, scope=claim.scope, agrees=True, doubt="No?")
    assert doubts() == ()
    second.agrees = False
    second.save()
    assert doubts() == ("No?",)
    second.scope = Scope.COMBINED
    second.save()
    assert doubts() == ("second reading: combined",)


def test_every_position_lies_inside_the_plot_and_keeps_the_order(review: Review) -> None:
    for strategy in Strategy.objects.all():
        plot = plot_of(evidence_of(strategy.pk))
        for panel in plot.panels if plot else ():
            ends = [(c.row.claim.plotted, c.shape.high) for c in panel.dots if not c.shape.is_range]
            assert [at for _, at in sorted(ends)] == sorted(at for _, at in ends)
            shapes = [dot.shape for dot in panel.dots] + [here.shape for here in panel.here]
            assert all(0 <= shape.low <= shape.high <= 100 for shape in shapes)


def test_a_measurement_stands_beside_the_claim_only_where_it_is_the_same_quantity(
    client: Client, review: Review
) -> None:
    for code, claimed in (("dettmers2022llmint8-0", True), ("frantar2023qmoe-0", False)):
        (claim,) = Claim.objects.by_code([code])
        Outcome.objects.create(
            claim=claim,
            run=a_finished_run().pk,
            study="quantization",
            hardware="a machine",
            status=Status.SUPPORTED,
            numbers=[{"name": "n", "value": 1.99, "unit": "x", "claimed": claimed}],
        )
    chart = text(
        page(client, "quantization").partition('id="evidence"')[2].partition("<details")[0]
    )
    assert "LLM.int8()’s claim measured here · a machine" in chart
    assert "QMoE’s claim measured" not in chart
    Outcome.objects.update(numbers=[{"name": "n", "value": 0, "unit": "x", "claimed": True}])
    assert "measured here ·" not in page(client, "quantization"), "no factor is 0"
    assert "were tried here and are supported" in page(client, "quantization")
    Outcome.objects.all().delete()
    assert "measured here ·" not in page(client, "quantization")
    assert "none was tried here" in page(client, "quantization")


def test_no_chart_is_made_of_one_point(client: Client, review: Review) -> None:
    html = page(client, "decentralized-execution")
    assert "Nothing to draw" in html
    assert 'id="evidence"' not in html
    assert "Its one claim compares whole systems that differ in it" in html
    Attribution.objects.filter(strategy__slug="decentralized-execution").delete()
    assert "No claim can be attributed to decentralized execution" in page(
        client, "decentralized-execution"
    )


def test_a_claim_says_its_conditions_and_what_is_missing(client: Client, review: Review) -> None:
    rows = dict(
        re.findall(r'<tr id="claim-([^"]+)">(.*?)</tr>', page(client, "quantization"), re.DOTALL)
    )
    assert "FP16" in text(rows["xiao2022smoothquant-1"])
    assert "device not stated" in text(rows["xiao2022smoothquant-1"])
    assert 'href="/claims/xiao2022smoothquant-1/"' in rows["xiao2022smoothquant-1"]
    both = text(page(client, "model-partitioning") + page(client, "layer-specific-kernels"))
    assert "may be read as 3.08 × or 4.08 ×" in both


def test_extensions_are_tagged_and_not_counted_as_publications(
    client: Client, review: Review
) -> None:
    html = page(client, "quantization")
    assert "Two claims come from an extension outside the review’s 65" in html
    told = Told()
    told.add(of=publication(key="e2023one", membership="extension"))
    assert told.said()[-1] == "One claim comes from an extension outside the review’s 65."
    told.add(of=publication(key="e2023two", membership="extension"))
    assert told.said()[-1] == "Two claims come from two extensions outside the review’s 65."
    assert text(table(html)).count("extension") >= 2
    extensions = {
        row.key for row in real_fixtures().publications if row.membership.status == "extension"
    }
    keys = {code.rpartition("-")[0] for code in codes(html)}
    counted = len(keys - extensions)
    assert f"{counted} publications of the review and 1 extension make these claims" in text(html)


def test_it_says_what_the_strategy_is_and_how_it_got_here(client: Client, review: Review) -> None:
    html = page(client, "pruning")
    strategy = Strategy.objects.get(slug="pruning")
    for part in (strategy.idea, strategy.trade, strategy.not_when):
        assert part in text(html)
    how = html.partition('id="how"')[2]
    assert "several summaries of the review that agree" in how
    for place in ("family:training-optimization", "group:size-reduction", "strategy:pruning"):
        assert f'href="/taxonomy/?select={place}"' in html
    assert "The review’s case study: SparseGPT" in text(html)
    assert "descriptions name &#x27;model compression&#x27;" in page(client, "distillation")


def test_only_the_chart_alone_may_be_framed(client: Client, review: Review) -> None:
    whole, alone = (client.get(f"/taxonomy/quantization/{end}") for end in ("", "chart/"))
    assert "frame-ancestors 'none'" in whole["Content-Security-Policy"]
    assert whole["X-Frame-Options"] == "DENY"
    assert "frame-ancestors *" in alone["Content-Security-Policy"]
    assert "script-src 'self'" in alone["Content-Security-Policy"]
    assert "X-Frame-Options" not in alone
    assert 'id="evidence"' in alone.content.decode()
    assert 'href="/taxonomy/quantization/"' in alone.content.decode()


def test_files_hold_only_what_is_attributed_with_all_its_fields(
    client: Client, review: Review
) -> None:
    about = "/taxonomy/pruning/export."
    strategy = Strategy.objects.get(slug="pruning")
    attributed = {
        c.code for c in Claim.objects.effects_of(strategy.pk).select_related("publication")
    }
    sent = client.get(about + "csv")
    rows = list(csv.DictReader(io.StringIO(sent.getvalue().decode("utf-8-sig"))))
    assert {row["code"] for row in rows} == attributed
    assert len(rows) == len(attributed)
    assert all("pruning" in row["strategies"].split("; ") for row in rows)
    assert "/taxonomy/pruning/export.csv" in rows[0]["export_query"]
    claims = client.get(about + "json").getvalue()
    assert all(
        name in claims for name in (b'"scope"', b'"axis"', b'"ratio"', b'"devices"', b'"phase"')
    )
    keys = {row.key for row in real_fixtures().publications if "pruning" in row.strategies}
    bibtex = bibtexparser.parse_string(client.get(about + "bib").content.decode())
    assert {entry.key for entry in bibtex.entries} == keys
    assert len(rispy.loads(client.get(about + "ris").content.decode())) == len(keys)
    assert {item["id"] for item in client.get(about + "csl.json").json()} == keys
    assert client.get(about + "xlsx").status_code == 404


def test_hostile_text_is_shown_as_text_and_runs_nowhere(client: Client, review: Review) -> None:
    evil = '=cmd()<script>alert("x")</script>\u202e'
    made = publication(artifact_name=evil, title=evil)
    Evidence.objects.create(publication=made, strategy=Strategy.objects.get(slug="pruning"))
    for ratio in (1e300, 1e-300):
        _attributed(
            "pruning",
            made,
            ratio=ratio,
            value=ratio,
            metric=evil,
            unit=evil,
            baseline=evil,
            hardware=evil,
            conditions=evil,
            direction=Direction.HIGHER,
        )
    html = page(client, "pruning")
    assert "<script>alert" not in html + client.get("/taxonomy/pruning/chart/").content.decode()
    assert "&lt;script&gt;alert" in html
    assert "'=cmd()" in client.get("/taxonomy/pruning/export.csv").getvalue().decode()


def test_a_strategy_that_does_not_exist_is_not_found(client: Client, review: Review) -> None:
    for address in ("nope/", "nope/chart/", "nope/export.csv", "a" * 300 + "/"):
        assert client.get(f"/taxonomy/{address}").status_code == 404


def test_a_change_of_a_publication_shows_at_once(client: Client, review: Review) -> None:
    page(client, "pruning")
    Publication.objects.filter(artifact_name="DejaVu").update(artifact_name="Renamed")
    assert "Renamed" in table(page(client, "pruning"))


def test_of_very_many_claims_the_best_supported_are_shown(client: Client, review: Review) -> None:
    add_publications(100)
    strategy = Strategy.objects.get(slug="quantization")
    Attribution.objects.bulk_create(
        Attribution(claim=claim, strategy=strategy, position=claim.attributions.count())
        for claim in Claim.objects.exclude(attributions__strategy=strategy)
    )
    total = Claim.objects.effects_of(strategy.pk).count()
    assert total > MOST_READ
    html = page(client, strategy.slug)
    assert len(codes(html)) == MOST_READ
    assert f"Of {total:,} claims the {MOST_READ} with the best support are read here" in html
    plot = plot_of(evidence_of(strategy.pk))
    assert plot
    assert all(len(panel.dots) <= MOST_DRAWN for panel in plot.panels)
