"""Read and check the fixture files: every problem at once, each with its file and line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from reviewapp.corpus.choices import Membership
from reviewapp.corpus.prisma.flow import BY_KEY
from taxonomy.loading.claim_checks import Numbered, check_claims, check_quantities, check_references
from taxonomy.loading.claim_facts import ClaimsFile
from taxonomy.loading.correcting import Facts, Records, Remarked, correct
from taxonomy.loading.correction_facts import CorrectionsFile
from taxonomy.loading.problems import FixtureError, LineOf, Problems
from taxonomy.loading.quantity_facts import QuantitiesFile
from taxonomy.loading.schema import (
    ClassRow,
    DefinitionsFile,
    PublicationRow,
    ReviewFile,
    SynonymsFile,
    TaxonomyFile,
)
from taxonomy.loading.venue_facts import VenueFacts, VenuesFile

# The loader in C reads the same in a tenth of the time; it is not built everywhere.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# In a file that was not read whole, what is corrected would be called unknown.
CORRECTED = {"publications.jsonl", "claims.yaml", "taxonomy.yaml"}
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True)
class Fixtures:
    """The checked content of a fixture folder."""

    review: ReviewFile
    taxonomy: TaxonomyFile
    definitions: DefinitionsFile
    synonyms: SynonymsFile
    publications: list[PublicationRow]
    venues: dict[str, VenueFacts]  # by key of the publication
    quantities: QuantitiesFile
    claims: Facts  # by key of the publication and position
    claim_lines: dict[tuple[str, int], int]  # where in claims.yaml each rule stands
    remarks: list[Remarked]


def read(folder: Path) -> Fixtures:
    """Return the folder's content; raise FixtureError naming all that is wrong with it."""
    problems = Problems()
    review, review_line = _read_yaml(folder / "review.yaml", ReviewFile, problems)
    taxonomy, taxonomy_line = _read_yaml(folder / "taxonomy.yaml", TaxonomyFile, problems)
    definitions, definition_line = _read_yaml(
        folder / "definitions.yaml", DefinitionsFile, problems
    )
    synonyms, synonym_line = _read_yaml(folder / "synonyms.yaml", SynonymsFile, problems)
    publications = _read_jsonl(folder / "publications.jsonl", problems)
    venues, venues_line = _read_yaml(folder / "venues.yaml", VenuesFile, problems)
    if taxonomy:
        _check_taxonomy(taxonomy, taxonomy_line, problems)
        _check_links(taxonomy, publications, problems)
    if taxonomy and definitions:
        _check_definitions(taxonomy, definitions, definition_line, problems)
    if taxonomy and synonyms:
        _check_synonyms(taxonomy, synonyms, synonym_line, problems)
    if review:
        _check_review(review, publications, review_line, problems)
    if venues:
        _check_venues(venues.root, publications, venues_line, problems)
    _check_unique(publications, problems)
    evidence = _read_evidence(folder, taxonomy, publications, problems)
    if problems.found or not (
        review and taxonomy and definitions and synonyms and venues and evidence
    ):
        raise FixtureError(problems.found)
    return Fixtures(
        review,
        taxonomy,
        definitions,
        synonyms,
        [row for _, row in publications],
        {facts.publication: facts for facts in venues.root},
        *evidence,
    )


def _read_evidence(
    folder: Path, taxonomy: TaxonomyFile | None, publications: Numbered, problems: Problems
) -> tuple[QuantitiesFile, Facts, dict[tuple[str, int], int], list[Remarked]] | None:
    """Return what is said of the claims, with the publications and the facts corrected."""
    claims, claims_line = _read_yaml(folder / "claims.yaml", ClaimsFile, problems)
    quantities, _ = _read_yaml(folder / "quantities.yaml", QuantitiesFile, problems)
    corrections, corrections_line = _read_yaml(
        folder / "corrections.yaml", CorrectionsFile, problems
    )
    if claims:
        check_claims(claims.root, publications, claims_line, problems)
    if claims and taxonomy:
        check_references(_strategies(taxonomy), claims.root, claims_line, problems)
    if claims and quantities:
        check_quantities(quantities, claims.root, publications, claims_line, problems)
    if not (taxonomy and claims and quantities and corrections) or problems.files & CORRECTED:
        return None
    facts = {(facts.publication, facts.position): facts for facts in claims.root}
    records = Records({row.key: row for _, row in publications}, facts, _strategies(taxonomy))
    lines = {place: claims_line((i, "replication")) for i, place in enumerate(facts)}
    return quantities, facts, lines, correct(records, corrections, corrections_line, problems)


def _strategies(taxonomy: TaxonomyFile) -> set[str]:
    return {row.slug for level, row, _ in walk(taxonomy) if level == "strategy"}


def _read_text(path: Path, problems: Problems) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        problems.add(path.name, 1, f"the file is missing from {path.parent}")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        problems.add(path.name, line, "not UTF-8 text")
    return None


def _read_yaml(path: Path, shape: type[Shape], problems: Problems) -> tuple[Shape | None, LineOf]:
    def nowhere(loc: tuple[int | str, ...]) -> int:
        return 1

    text = _read_text(path, problems)
    if text is None:
        return None, nowhere
    try:
        root = yaml.compose(text, Loader=LOADER)
        data = yaml.load(text, Loader=LOADER)  # noqa: S506 - both loaders are safe
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problems.add(path.name, line, f"not YAML: {error.problem}")
        return None, nowhere

    def line_of(loc: tuple[int | str, ...]) -> int:
        return _yaml_line(root, loc)

    for line, key in _repeated_keys(root):
        problems.add(path.name, line, f"{key}: duplicate key")
    try:
        return shape.model_validate(data), line_of
    except ValidationError as error:
        problems.add_invalid(path.name, line_of, error)
        return None, line_of


def _yaml_line(node: yaml.Node | None, loc: Iterable[int | str]) -> int:
    """Return the line of the deepest node that `loc` reaches."""
    line = 1 if node is None else node.start_mark.line + 1
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(step)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _repeated_keys(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, key.value
            seen.add(key.value)
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item)


def _read_jsonl(path: Path, problems: Problems) -> Numbered:
    rows: Numbered = []
    for line, text in enumerate((_read_text(path, problems) or "").split("\n"), 1):
        if not text.strip():
            continue
        try:
            rows.append((line, PublicationRow.model_validate(json.loads(text))))
        except json.JSONDecodeError as error:
            problems.add(path.name, line, f"not JSON: {error.msg} at column {error.colno}")
        except ValidationError as error:
            problems.add_invalid(path.name, lambda _, line=line: line, error)  # type: ignore[misc]
    return rows


def _check_taxonomy(taxonomy: TaxonomyFile, line_of: LineOf, problems: Problems) -> None:
    """Check that slugs are unique at each level and that strategies name known classes."""
    classes = {row.slug for row in taxonomy.classes}
    seen: set[tuple[str, str]] = set()
    for level, row, loc in walk(taxonomy):
        if (level, row.slug) in seen:
            problems.add("taxonomy.yaml", line_of(loc), f"{row.slug}: duplicate {level}")
        seen.add((level, row.slug))
        for slug in getattr(row, "classes", []):
            if slug not in classes:
                problems.add("taxonomy.yaml", line_of(loc), f"{slug}: unknown class")


def walk(taxonomy: TaxonomyFile) -> Iterator[tuple[str, ClassRow, tuple[int | str, ...]]]:
    """Yield every class, family, group and strategy with its level and its place in the file."""
    for c, row in enumerate(taxonomy.classes):
        yield "class", row, ("classes", c)
    for f, family in enumerate(taxonomy.families):
        yield "family", family, ("families", f)
        for g, group in enumerate(family.groups):
            yield "group", group, ("families", f, "groups", g)
            for s, strategy in enumerate(group.strategies):
                yield "strategy", strategy, ("families", f, "groups", g, "strategies", s)


def _check_links(taxonomy: TaxonomyFile, publications: Numbered, problems: Problems) -> None:
    known = {(level, row.slug) for level, row, _ in walk(taxonomy)}
    for line, row in publications:
        for level, slugs in (("class", row.classes), ("strategy", row.strategies)):
            for slug in slugs:
                if (level, slug) not in known:
                    problems.add("publications.jsonl", line, f"{slug}: unknown {level}")
            if len(set(slugs)) < len(slugs):
                problems.add("publications.jsonl", line, f"{row.key}: a {level} stands twice")


def _check_definitions(
    taxonomy: TaxonomyFile, definitions: DefinitionsFile, line_of: LineOf, problems: Problems
) -> None:
    sections = {"class": "classes", "family": "families", "group": "groups"}
    for level in ("class", "family", "group", "strategy"):
        section = sections.get(level, "strategies")
        needed = {row.slug for lvl, row, _ in walk(taxonomy) if lvl == level}
        given = set(getattr(definitions, section))
        for slug in sorted(needed - given):
            problems.add(
                "definitions.yaml", line_of((section,)), f"{slug}: the {level} has no definition"
            )
        for slug in sorted(given - needed):
            problems.add("definitions.yaml", line_of((section, slug)), f"{slug}: unknown {level}")


def _check_synonyms(
    taxonomy: TaxonomyFile, synonyms: SynonymsFile, line_of: LineOf, problems: Problems
) -> None:
    """Check that the strategies are known and that no term stands twice."""
    known = _strategies(taxonomy)
    for slug in sorted(synonyms.strategies.keys() - known):
        line = line_of(("strategies", slug))
        problems.add("synonyms.yaml", line, f"{slug}: unknown strategy")
    seen: set[str] = set()
    for i, term in enumerate(synonyms.terms):
        if term.head.casefold() in seen:
            problems.add("synonyms.yaml", line_of(("terms", i)), f"{term.head}: duplicate term")
        seen.add(term.head.casefold())


def _check_review(
    review: ReviewFile, publications: Numbered, line_of: LineOf, problems: Problems
) -> None:
    for key in review.flow:
        if key not in BY_KEY:
            problems.add("review.yaml", line_of(("flow", key)), f"{key}: unknown PRISMA number")
    if "publications.jsonl" in problems.files:
        return  # a row that was not read would be called unknown here
    keys = {row.key for _, row in publications}
    for i, study in enumerate(review.case_studies):
        if study.publication not in keys:
            line = line_of(("case_studies", i))
            problems.add("review.yaml", line, f"{study.publication}: unknown publication")
    named = sum(row.membership.status == Membership.NAMED for _, row in publications)
    if named != review.named_publications.count:
        what = f"{review.named_publications.count} named publications expected, {named} found"
        problems.add("review.yaml", line_of(("named_publications", "count")), what)


def _check_venues(
    entries: list[VenueFacts], publications: Numbered, line_of: LineOf, problems: Problems
) -> None:
    """Check that every publication has one entry, of its first version's year, and no other has."""
    rows = {row.key: (line, row) for line, row in publications}
    whole = "publications.jsonl" not in problems.files  # a row not read would be called unknown
    seen: set[str] = set()
    for i, entry in enumerate(entries):
        key, line = entry.publication, line_of((i,))
        if key in seen:
            problems.add("venues.yaml", line, f"{key}: duplicate publication")
        seen.add(key)
        if key not in rows:
            if whole:
                problems.add("venues.yaml", line, f"{key}: unknown publication")
        elif rows[key][1].year != entry.first_year:
            what = f"{key}: the first version is of {entry.first_year}, not {rows[key][1].year}"
            problems.add("publications.jsonl", rows[key][0], what)
    for key in sorted(rows.keys() - seen):
        what = f"{key}: the publication has no entry in venues.yaml"
        problems.add("publications.jsonl", rows[key][0], what)


def _check_unique(publications: Numbered, problems: Problems) -> None:
    first: dict[tuple[str, str], int] = {}
    for line, row in publications:
        for name in ("key", "arxiv_id", "doi"):
            value = getattr(row, name)
            if value is None:
                continue
            earlier = first.setdefault((name, value.lower()), line)
            if earlier != line:
                what = f"{value}: duplicate {name}, first on line {earlier}"
                problems.add("publications.jsonl", line, what)
        if row.membership.status == Membership.NAMED and row.membership.grade is None:
            problems.add(
                "publications.jsonl", line, f"{row.key}: a named publication needs a grade"
            )
