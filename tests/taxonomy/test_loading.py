"""`manage.py load_review` loads the review whole, or nothing with every problem named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from reviewapp.corpus.models import FlowNumber, Publication, Review
from taxonomy.choices import RatioRule
from taxonomy.claims.reading import with_facts
from taxonomy.loading.axes import factor
from taxonomy.loading.reading import LOADER
from taxonomy.models import (
    Attribution,
    Axis,
    Claim,
    Evidence,
    Group,
    Outcome,
    Remark,
    Strategy,
)
from taxonomy.search.reading import read
from tests.casestudies.making import a_finished_run

FIXTURES = Path(__file__).parents[2] / "fixtures"
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def read_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(), LOADER)  # noqa: S506 - the safe one, in C


def write_yaml(path: Path, content: Any) -> None:
    path.write_text(yaml.dump(content, Dumper=DUMPER, sort_keys=False))


FACTS = {
    (entry["publication"], entry["position"]): entry
    for entry in read_yaml(FIXTURES / "claims.yaml")
}
VENUES = {entry["publication"]: entry for entry in read_yaml(FIXTURES / "venues.yaml")}
CORRECTIONS = read_yaml(FIXTURES / "corrections.yaml")
ROWS = [json.loads(line) for line in (FIXTURES / "publications.jsonl").read_text().splitlines()]

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the fixtures that a test may spoil."""
    return shutil.copytree(FIXTURES, tmp_path / "fixtures")


def edit_row(folder: Path, line: int, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "publications.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[line - 1])
    change(row)
    lines[line - 1] = json.dumps(row)
    path.write_text("\n".join(lines))


def edit_facts(
    folder: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
) -> None:
    path = folder / "claims.yaml"
    write_yaml(path, change(read_yaml(path)))


def load(folder: Path) -> None:
    call_command("load_review", folder, verbosity=0)


def problems(folder: Path) -> list[str]:
    with pytest.raises(CommandError) as error:
        load(folder)
    assert not Review.objects.exists(), "nothing may be written"
    return str(error.value).splitlines()


def everything() -> list[Any]:
    return [
        list(Publication.objects.order_by("key").values()),
        list(Claim.objects.order_by("publication__key", "position").values_list("metric", "value")),
        set(Evidence.objects.values_list("publication__key", "strategy__slug")),
        set(Strategy.objects.values_list("slug", "group__slug", "classes__slug")),
        list(FlowNumber.objects.values_list("key", "n", "grade")),
    ]


def test_the_review_has_exactly_65_publications_and_8_extensions_beside_them(
    review: Review,
) -> None:
    assert Publication.objects.membership_counts() == {
        "named": 12,
        "reconstructed": 53,
        "extension": 8,
        "counted": 65,
    }
    assert Publication.objects.in_review().count() == 65


def test_every_fact_of_the_fixtures_is_in_the_database(review: Review) -> None:
    for row in ROWS:
        publication = Publication.objects.get(key=row["key"])
        assert publication.authors == row["authors"]
        assert (publication.arxiv_id, publication.doi) == (row["arxiv_id"], row["doi"])
        assert {s.slug for s in publication.strategies.all()} == set(row["strategies"]) | {
            slug
            for links in CORRECTIONS["strategy_links"]
            if links["publication"] == row["key"]
            for slug in links["add"]
        }
        venue, first = VENUES[row["key"]], VENUES[row["key"]]["first_version"] or {}
        assert (publication.published_year, publication.published_month) == (
            venue["published"]["year"],
            venue["published"]["month"],
        )
        assert {
            "name": publication.venue_name,
            "acronym": publication.venue_acronym,
            "track": publication.venue_track,
            "volume": publication.volume,
            "number": publication.number,
        } == {"acronym": "", "track": "", "volume": "", "number": "", **venue["venue"]}
        assert publication.venue_confidence == venue["confidence"]
        assert publication.venue_note == venue.get("note", "")
        assert (
            publication.first_version_year,
            publication.first_version_month,
            publication.first_version_confidence,
        ) == (first.get("year"), first.get("month"), first.get("confidence", ""))
        assert [
            (c.metric, c.value, c.direction, c.conditions or None) for c in publication.claims.all()
        ] == [(c["metric"], c["value"], c["direction"], c["conditions"]) for c in row["claims"]]
    stated = read_yaml(FIXTURES / "review.yaml")["review"]
    assert (review.pages, review.arxiv_id, review.arxiv_licence) == (
        stated["pages"],
        stated["arxiv_id"],
        stated["arxiv_licence"],
    )
    taxonomy = read_yaml(FIXTURES / "taxonomy.yaml")
    groups = [g["slug"] for f in taxonomy["families"] for g in f["groups"]]
    assert list(Group.objects.values_list("slug", flat=True)) == groups


def test_every_claim_has_the_unit_and_the_rule_of_its_facts(review: Review) -> None:
    claims = {(c.publication.key, c.position): c for c in Claim.objects.select_related()}
    assert claims.keys() == FACTS.keys()
    for place, claim in claims.items():
        facts, plan = FACTS[place], FACTS[place]["replication"]
        assert claim.unit == facts["unit"]
        assert claim.testable == plan["testable"]
        assert (claim.study, claim.measure, claim.rule) == tuple(
            plan.get(name, "") for name in ("study", "measure", "rule")
        )
        texts = ("part", "pattern", "percentile", "job", "task", "benchmark", "note")
        for name in (*texts, "hardware_note", "derivable_ratio", "baseline_kind"):
            assert getattr(claim, name) == (facts.get(name) or "")
        assert claim.ratio_readings == (facts.get("ratio_readings") or [])
        count = facts.get("hardware_count_range") or [None, None]
        assert [claim.hardware_fewest, claim.hardware_most] == count
        assert claim.model == ", ".join(model["name"] for model in facts.get("model", []))
        written = str(claim.rule_written) if claim.rule_written else None
        assert (written, claim.rule_blind) == (plan.get("written"), plan.get("blind"))


def test_claims_keep_their_rows_when_the_review_is_loaded_again(
    review: Review, folder: Path
) -> None:
    before = dict(Claim.objects.values_list("pk", "value"))
    changed = Claim.objects.by_code([f"{ROWS[1]['key']}-0"])
    edit_row(folder, 2, lambda row: row["claims"][0].update(value=12345))
    load(folder)
    after = dict(Claim.objects.values_list("pk", "value"))
    assert after == {**before, changed.get().pk: 12345}


def test_claims_are_found_by_their_codes(review: Review) -> None:
    codes = ["frantar2023sparsegpt-1", "frantar2023qmoe-0"]
    found = Claim.objects.by_code(codes).select_related("publication")
    assert sorted(claim.code for claim in found) == sorted(codes)
    odd = ["", "-", "frantar2023qmoe", "frantar2023qmoe-00", "frantar2023qmoe-99999", "x-1", "\0-1"]
    assert not Claim.objects.by_code(odd).exists()
    assert not Claim.objects.by_code([]).exists()


def test_only_the_reported_flow_numbers_are_stored(review: Review) -> None:
    assert dict(FlowNumber.objects.values_list("key", "n")) == {
        "database_results": 983,
        "new_reports": 65,
    }


def test_loading_twice_changes_nothing(review: Review, folder: Path) -> None:
    first = everything()
    load(folder)
    assert everything() == first


def test_loading_again_takes_corrections_and_keeps_other_publications(
    review: Review, folder: Path
) -> None:
    other = Publication.objects.get(key=ROWS[0]["key"])
    other.pk, other.key, other.arxiv_id, other.doi = None, "imported2024", None, None
    other.save()
    edit_row(folder, 1, lambda row: row.update(title="A corrected title", claims=[]))
    edit_facts(folder, lambda facts: [f for f in facts if f["publication"] != ROWS[0]["key"]])
    load(folder)
    corrected = Publication.objects.get(key=ROWS[0]["key"])
    assert corrected.title == "A corrected title"
    assert not corrected.claims.exists()
    assert Publication.objects.filter(key="imported2024").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda r: r.update(year=2525), "year: 2525 is not a possible year"),
        (lambda r: r.update(year=1949), "year: 1949 is not a possible year"),
        (lambda r: r.update(year=1950), "the first version is of 2022, not 1950"),
        (
            lambda r: r.update(month=13),
            "month: Input should be less than or equal to 12 (found 13)",
        ),
        (lambda r: r.update(doi="doi:10/x"), "doi: String should match pattern"),
        (lambda r: r.update(arxiv_id="hep-th/99"), "arxiv_id: String should match pattern"),
        (lambda r: r["strategies"].append("magic"), "magic: unknown strategy"),
        (lambda r: r["classes"].append("magic"), "magic: unknown class"),
        (lambda r: r["classes"].append(r["classes"][0]), "frantar2022gptq: a class stands twice"),
        (lambda r: r["claims"][0].update(value="fast"), "claims.0.value: 'fast' is not a number"),
        (lambda r: r["claims"][0].update(value=float("nan")), "claims.0.value"),
        (lambda r: r["claims"][0].update(objective="fame"), "claims.0.objective"),
        (lambda r: r.update(key=ROWS[0]["key"]), "duplicate key, first on line 1"),
        (lambda r: r.update(doi=ROWS[0]["doi"].upper()), "duplicate doi, first on line 1"),
        (lambda r: r.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda r: r.update(url="javascript:alert(1)"), "url: String should match pattern"),
    ],
)
def test_a_bad_publication_is_named_with_its_line(
    folder: Path, change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    edit_row(folder, 3, change)
    found = [p for p in problems(folder) if p.startswith("publications.jsonl:3: ")]
    assert any(expected in problem for problem in found), found


def test_all_problems_are_named_at_once(folder: Path) -> None:
    edit_row(folder, 2, lambda row: row.update(year=1))
    edit_row(folder, 5, lambda row: row["claims"][0].update(value="many"))
    with (folder / "publications.jsonl").open("a") as file:
        file.write('\n{"key": ')
    taxonomy = folder / "taxonomy.yaml"
    lines = taxonomy.read_text().splitlines()
    line = next(i for i, text in enumerate(lines) if "slug: pruning" in text)
    lines[line] = lines[line].replace("[training, inference]", "[training, magic]")
    taxonomy.write_text("\n".join(lines))
    found = problems(folder)
    assert [p.split(": ")[0] for p in found[:-1]] == [
        "publications.jsonl:2",
        "publications.jsonl:5",
        "publications.jsonl:74",
        f"taxonomy.yaml:{line + 1}",
    ]
    assert found[-1] == "Nothing was loaded: 4 problem(s) above."


# What stands on the line that is named, where that is not the change: mostly its entry begins.
NAMED_AT = {
    "not YAML": "- slug: training-optimization",
    "pruning: the strategy has no": "strategies:",
    "stands here twice": "  pruning:",
    "off-loading: unknown strategy": "attribution:",
    "aminabadi2022deepspeedinference-0: dupl": "- publication: aminabadi2022deepspeedinference",
    "aminabadi2022deepspeedinference-9: unknown": "- publication: aminabadi2022deepspeedinference",
    "ratio: the rule “factor”": "- publication: borzunov2022petals",
    "claim 0 is not the other end": "range_with:",
    "a testable claim needs study": "replication:",
}


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("review.yaml", "new_reports:", "new_reprots:", "new_reprots: unknown PRISMA number"),
        ("review.yaml", "frantar2023qmoe", "nobody", "nobody: unknown publication"),
        ("review.yaml", "n: 983", "n: -3", "Input should be greater than or equal to 0"),
        ("review.yaml", "count: 12", "count: 13", "13 named publications expected, 12 found"),
        ("taxonomy.yaml", "slug: pruning", "slug: quantization", "duplicate strategy"),
        ("taxonomy.yaml", "grade: C+", "grade: Z", "grade: Input should be"),
        ("taxonomy.yaml", "families:", "families: [", "not YAML"),
        ("taxonomy.yaml", "\nclasses:", "\nclasses: []\nclasses:", "classes: duplicate key"),
        ("definitions.yaml", "  pruning:", "  prunning:", "pruning: the strategy has no"),
        ("definitions.yaml", "  pruning:", "  prunning:", "prunning: unknown strategy"),
        ("synonyms.yaml", "  pruning:", "  prunning:", "prunning: unknown strategy"),
        ("synonyms.yaml", "same: [pruning, pruned", "same: [pruned, pruned", "stands here twice"),
        ("synonyms.yaml", "head: QLoRA", "head: lora", "lora: duplicate term"),
        ("synonyms.yaml", "narrower: [LoRA", "narower: [LoRA", "narower: Extra inputs"),
        ("claims.yaml", "qualifier: approx", "qualifier: roughly", ".qualifier: Input should be"),
        ("claims.yaml", "phase: serving", "phase: dreaming", ".phase: Input should be"),
        ("claims.yaml", "  unit: x", "  units: x", "0.units: Extra inputs"),
        ("claims.yaml", "  unit: x", "  unit: h\n  unit: x", "unit: duplicate key"),
        ("claims.yaml", "- offloading", "- off-loading", "off-loading: unknown strategy"),
        ("claims.yaml", "position: 1", "position: 0", "aminabadi2022deepspeedinference-0: dupl"),
        ("claims.yaml", "position: 1", "position: 9", "aminabadi2022deepspeedinference-9: unknown"),
        ("claims.yaml", "metric: generation speed", "metric: x", "metric is 'generation speed'"),
        ("claims.yaml", "ratio_rule: none", "ratio_rule: factor", "ratio: the rule “factor”"),
        ("claims.yaml", "range_with: 1", "range_with: 0", "claim 0 is not the other end"),
        ("claims.yaml", "testable: 'no'", "testable: direction", "a testable claim needs study"),
        ("claims.yaml", "blind: true", "blind: perhaps", "replication.blind: Input should be"),
        ("venues.yaml", "month: 11", "month: 13", "month: Input should be less than or equal"),
        ("venues.yaml", "confidence: high", "confidence: sure", "0.confidence: Input should be"),
        ("venues.yaml", "acronym: ACL", "acronyms: ACL", "venue.acronyms: Extra inputs"),
        ("venues.yaml", 'volume: "34"', "volume: 34", "venue.volume: Input should be a valid str"),
        ("venues.yaml", "frantar2022gptq", "nobody2022", "nobody2022: unknown publication"),
        ("venues.yaml", "frantar2022gptq", "hu2021lora", "hu2021lora: duplicate publication"),
        ("quantities.yaml", "axis_unit: x", "axis_unit: y", "end-to-end: unknown unit y"),
        (
            "quantities.yaml",
            "    latency-red",
            "    laten",
            "end-to-end: unknown quantity latenuction",
        ),
        (
            "quantities.yaml",
            "slug: speedup-layer",
            "slug: speedup-kernel",
            "kernel stands here twice",
        ),
    ],
)
def test_a_bad_file_is_named_with_its_line(
    folder: Path, file: str, old: str, new: str, expected: str
) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = [p for p in problems(folder) if p.startswith(f"{file}:") and expected in p]
    assert found
    line = int(found[0].split(":")[1])
    changed = "about:" if file == "quantities.yaml" else new.rpartition("\n")[-1]
    wanted = NAMED_AT.get(expected, changed)
    assert wanted in path.read_text().splitlines()[line - 1]


def test_a_claim_without_facts_is_named_where_it_stands(folder: Path) -> None:
    edit_facts(folder, lambda facts: facts[1:])
    [problem, _] = problems(folder)
    line = next(n for n, row in enumerate(ROWS, 1) if row["key"].startswith("aminabadi2022"))
    assert problem == (
        f"publications.jsonl:{line}: aminabadi2022deepspeedinference-0: the claim has no entry in"
        " claims.yaml"
    )


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("year: 2022, month: 10, conf", "year: 2021, month: 10, conf", "is of 2021, not 2022"),
        ("first_version: {year: 2022, month: 10, confidence: high}", "first_version: null", "2023"),
        ("- publication: frantar2022gptq", "- publication: nobody2022", "no entry in venues.yaml"),
    ],
)
def test_a_publication_that_differs_from_its_venue_is_named_where_it_stands(
    folder: Path, old: str, new: str, what: str
) -> None:
    path = folder / "venues.yaml"
    before, start, rest = path.read_text().partition("- publication: frantar2022gptq")
    assert old in start + rest
    path.write_text(before + (start + rest).replace(old, new, 1))
    line = next(n for n, row in enumerate(ROWS, 1) if row["key"] == "frantar2022gptq")
    found = [p for p in problems(folder) if p.startswith(f"publications.jsonl:{line}: frantar")]
    assert len(found) == 1
    assert what in found[0]


def test_a_missing_file_or_wrong_encoding_is_a_plain_message(folder: Path) -> None:
    (folder / "review.yaml").unlink()
    (folder / "publications.jsonl").write_bytes(b"{}\n\xff\n")
    (folder / "synonyms.yaml").write_text("")
    found = problems(folder)
    assert any(p.startswith("review.yaml:1: the file is missing") for p in found)
    assert "publications.jsonl:2: not UTF-8 text" in found
    assert any(p.startswith("synonyms.yaml:1: ") for p in found)


def test_the_database_itself_refuses_impossible_facts(review: Review) -> None:
    key = ROWS[0]["key"]
    for change in (
        {"year": 1},
        {"month": 13},
        {"doi": "x"},
        {"arxiv_id": "x"},
        {"membership": "maybe"},
        {"doi": "10.18653/V1/2022.EMNLP-MAIN.279"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            Publication.objects.filter(key=key).update(**change)
    for value in (float("nan"), float("inf")):
        with pytest.raises(IntegrityError), transaction.atomic():
            Claim.objects.filter(publication__key=key).update(value=value)


def test_search_covers_title_authors_artifact_venue_summary_and_claims(review: Review) -> None:

    def found(text: str) -> set[str]:
        return set(read(text).publications().values_list("artifact_name", flat=True))

    assert "SparseGPT" in found("massive language models can be accurately pruned")
    assert {"GPTQ", "QMoE", "SparseGPT"} <= found("Frantar")
    assert "vLLM" in found("vllm")
    assert "Orca" in found("OSDI 2022")
    assert "QMoE" in found("ideal uncompressed inference")
    assert "GPTQ" in found("quant"), "the last word may be a prefix"
    assert not found("nothing of the kind anywhere")


def test_search_follows_a_changed_claim(review: Review) -> None:
    claim = Claim.objects.filter(publication__key="frantar2023qmoe").first()
    assert claim is not None
    claim.metric = "zebra crossings"
    claim.save()
    assert [p.key for p in read("zebra").publications()] == ["frantar2023qmoe"]
    claim.delete()
    assert not read("zebra").publications().exists()


def test_the_search_index_is_used() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM corpus_publication"
            " WHERE search @@ websearch_to_tsquery('english', 'cache')"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "publication_search" in plan


def test_every_claim_has_the_scope_and_the_strategies_of_its_reading(review: Review) -> None:
    claims = {(c.publication.key, c.position): c for c in with_facts(Claim.objects.all())}
    for place, claim in claims.items():
        first = FACTS[place]["attribution"]
        links = claim.attributions.all()
        assert claim.scope == first["scope"]
        assert [a.strategy.slug for a in links if a.counted] == first["strategies"]
        missing = first.get("missing_strategy", [])
        assert [a.strategy.slug for a in links if not a.counted] == missing
        stated = [d for d in claim.devices.all() if d.role == "stated"]
        assert [(d.name, d.count, d.memory_gb) for d in stated] == [
            (d["name"], d["count"], d["memory_gb"]) for d in FACTS[place].get("hardware", [])
        ]
        assert [(m.at_least_billion, m.at_most_billion) for m in claim.models.all()] == [
            tuple(m.get("parameters_billion_range") or (None, None))
            for m in FACTS[place].get("model", [])
        ]
    attributed = Attribution.objects.filter(counted=True)
    assert attributed.count() == 305
    assert attributed.filter(claim__scope__in=["isolated", "combined"]).count() == 89


def test_claims_of_one_axis_share_their_quantity_and_all_that_it_matches(review: Review) -> None:
    for axis in Axis.objects.select_related("quantity").prefetch_related("claims"):
        shared = {
            tuple(getattr(claim, name) for name in axis.quantity.match)
            for claim in axis.claims.all()
        }
        assert len(shared) == 1, axis


@pytest.mark.parametrize(
    ("rule", "number", "expected"),
    [
        (RatioRule.FACTOR, 2.5, 2.5),
        (RatioRule.LESS, 60, 2.5),
        (RatioRule.LESS, 100, None),  # nothing is left to divide by
        (RatioRule.MORE, 150, 2.5),
        (RatioRule.SHARE, 40, 2.5),
        (RatioRule.SHARE, 0, None),
        (RatioRule.AMBIGUOUS, 40, None),
        (RatioRule.NONE, 40, None),
    ],
)
def test_a_factor_follows_from_a_number_by_its_rule_alone(
    rule: RatioRule, number: float, expected: float | None
) -> None:
    assert factor(rule, number) == (expected and pytest.approx(expected))


def test_a_number_stands_on_its_axis_as_its_words_allow(review: Review) -> None:

    def claim(code: str) -> Claim:
        return Claim.objects.by_code([code]).get()

    halved = claim("wang2023tabi-0")  # 40 % less latency, the top of a range from 21 %
    assert (halved.plotted, halved.other_plotted) == pytest.approx((1.6667, 1.2658), abs=1e-4)
    assert halved.other_end == claim("wang2023tabi-1")
    assert claim("wang2021lightseq2-2").plotted is None  # 308 % can be two factors
    assert claim("frantar2023sparsegpt-1").plotted == 4.5  # hours, on an axis of hours
    rates = Claim.objects.filter(unit="TFLOP/s", axis__quantity__axis_unit="PFLOP/s")
    assert all(rate.plotted == pytest.approx(rate.value / 1000) for rate in rates)


def test_corrections_are_applied_and_say_what_they_replaced(review: Review) -> None:
    claim = Claim.objects.by_code(["song2023powerinfer-1"]).get()
    assert claim.baseline.startswith("A100: the RTX 4090 is 18 % lower")
    doubt, correction = claim.remarks.all()
    assert (doubt.kind, doubt.settled) == ("doubt", True)
    assert (correction.field, correction.before) == ("baseline", "A100 about 18% faster")
    assert correction.source.startswith("README of PowerInfer")
    dejavu = Publication.objects.get(key="liu2023dejavu")
    assert dejavu.month == 10
    assert set(dejavu.claims.values_list("qualifier", flat=True)) == {"more-than"}
    doubts = Remark.objects.filter(kind="doubt")
    said = [(remark.publication_id, remark.claim_id, remark.text) for remark in doubts]
    assert len(said) == len(set(said))
    own = sum("doubt" in facts for facts in FACTS.values())
    assert len(said) == own + sum(len(positions(row)) for row in CORRECTIONS["doubt"])
    changes = [*CORRECTIONS["apply"], *CORRECTIONS["objectives"]]
    settled = {
        (row["publication"], position)
        for row in changes
        if row.get("settles")
        for position in positions(row)
    }
    assert settled == set(
        Remark.objects.filter(settled=True).values_list("publication__key", "claim__position")
    )


def positions(row: dict[str, Any]) -> list[Any]:
    found = row.get("position")
    return found if isinstance(found, list) else [found]


def edit_corrections(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "corrections.yaml"
    content = read_yaml(path)
    change(content)
    write_yaml(path, content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c: c["apply"][0].update(publication="nobody"),
            "nobody: unknown publication",
        ),
        (lambda c: c["apply"][0].update(position=9), "song2023powerinfer-9: unknown claim"),
        (lambda c: c["apply"][0].update(field="value"), "value: cannot be"),
        (lambda c: c["apply"][0].update(field="month"), "month: cannot be"),
        (lambda c: c["apply"][0].pop("position"), "baseline: cannot be"),
        (lambda c: c["apply"][1].update(value="hearsay"), "source: cannot be 'hearsay' here"),
        (lambda c: c["strategy_links"][0].update(add=["magic"]), "magic: unknown strategy"),
        (
            lambda c: c["strategy_links"][0]["add"].append(c["strategy_links"][0]["add"][0]),
            "is filed under attention-approximation already",
        ),
        (lambda c: c["doubt"][0].update(text=""), "at least 1 character"),
    ],
)
def test_a_correction_of_what_is_not_there_is_named(
    folder: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit_corrections(folder, change)
    [problem, _] = problems(folder)
    assert problem.startswith("corrections.yaml:")
    assert said in problem


def test_an_impossible_quantity_unit_or_ratio_is_named_with_its_line(folder: Path) -> None:
    def spoil(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        entries[0]["quantity"] = "happiness"
        entries[1]["ratio"] = 1.6
        entries[3]["unit"] = "h"
        return entries

    edit_facts(folder, spoil)
    *found, _ = problems(folder)
    assert [problem.split(": ", 1)[1] for problem in found] == [
        "quantity: happiness is unknown",
        "ratio: factor makes 1.5 of 1.5",
        "unit: h cannot stand on an axis in token/s",
    ]
    assert all(problem.startswith("claims.yaml:") for problem in found)


def test_a_rule_is_never_replaced_in_silence(review: Review, folder: Path) -> None:
    claim = Claim.objects.exclude(rule="").select_related("publication").earliest("pk")
    place = claim.publication.key, claim.position

    def entry(entries: list[dict[str, Any]]) -> dict[str, Any]:
        return next(e for e in entries if (e["publication"], e["position"]) == place)

    def soften(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        entry(entries)["replication"].update(rule="Supported.", written="2026-12-01")
        return entries

    edit_facts(folder, soften)
    with pytest.raises(CommandError, match=r"which replication\.former must keep"):
        load(folder)
    former = {
        "rule": claim.rule,
        "written": str(claim.rule_written),
        "blind": claim.rule_blind,
        "replaced": "2026-12-01",
        "reason": "it could not fail",
        "after_result": False,
    }

    def keep(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        entry(entries)["replication"]["former"] = [former]
        return entries

    Outcome.objects.create(
        claim=claim, run=a_finished_run().pk, study="any", hardware="any", status="supported",
        rule_written=claim.rule_written,
    )  # fmt: skip
    edit_facts(folder, keep)
    with pytest.raises(CommandError, match="so it was replaced after_result"):
        load(folder)
    former["after_result"] = True
    edit_facts(folder, keep)
    load(folder)
    assert [(rule.text, rule.after_result) for rule in claim.former_rules.all()] == [
        (former["rule"], True)
    ]
