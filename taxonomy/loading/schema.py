"""The shape of the fixture files that `load_review` reads, checked field by field.

Every class mirrors one record of review.yaml, taxonomy.yaml, definitions.yaml, synonyms.yaml or
publications.jsonl (claim_facts.py has claims.yaml); fixtures/README.md describes the files.
"""

import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from reviewapp.corpus.choices import (
    ArtifactKind,
    Confidence,
    Grade,
    LimitationBasis,
    Membership,
    VenueKind,
)
from taxonomy.choices import ClaimSource, Direction, Objective


def _possible_year(year: int) -> int:
    latest = datetime.datetime.now(datetime.UTC).year + 1
    if not 1950 <= year <= latest:
        raise ValueError(f"{year} is not a possible year (1950 to {latest})")
    return year


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError(f"{value!r} is not a number")
    return value


Text = Annotated[str, Field(min_length=1, max_length=5000, pattern=r"^[^\x00]+$")]
# What search can compare: with a letter or a digit in it, and no longer than a search may be.
Word = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*\w[^\x00]*$")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=50)]
Key = Annotated[str, Field(pattern=r"^[a-z0-9]+$", max_length=80)]
Year = Annotated[int, AfterValidator(_possible_year)]
Month = Annotated[int, Field(ge=1, le=12)]
Period = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Url = Annotated[str, Field(pattern=r"^https?://[^\s<>\"]+$", max_length=500)]
ArxivId = Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")]
Doi = Annotated[str, Field(pattern=r"^10\.\d{4,9}/\S+$", max_length=200)]
Number = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, strict=True)]


class FixtureRecord(BaseModel):
    """A record of a fixture; a field it does not know is an error, not silently dropped."""

    model_config = ConfigDict(extra="forbid")


# review.yaml


class PeriodRow(FixtureRecord):
    from_: Annotated[Period, Field(alias="from")]
    to: Period
    grade: Grade


class GuidelineRow(FixtureRecord):
    value: Text
    edition: Text | None
    grade: Grade


class ReviewRow(FixtureRecord):
    slug: Slug
    title: Text
    authors: Annotated[list[Text], Field(min_length=1)]
    venue: Text
    volume: int | None
    year: Year
    pages: Text | None
    arxiv_id: ArxivId | None
    arxiv_licence: Text | None
    doi: Doi | None
    period: PeriodRow
    reporting_guideline: GuidelineRow


class FlowRow(FixtureRecord):
    n: Count
    grade: Grade
    note: str = ""


class DatabaseRow(FixtureRecord):
    name: Text
    grade: Grade


class DatabasesRow(FixtureRecord):
    count: Count | None
    named: list[DatabaseRow]


class ToolRow(FixtureRecord):
    name: Text
    use: Text
    grade: Grade


class CriterionRow(FixtureRecord):
    text: Text
    grade: Grade


class CriteriaRow(FixtureRecord):
    inclusion: list[CriterionRow]
    exclusion: list[CriterionRow]


class CaseStudyRow(FixtureRecord):
    subject: Text
    aim: Text
    grade_subject: Grade
    grade_aim: Grade
    publication: Key


class NamedRow(FixtureRecord):
    count: Count
    note: Text


class ReviewFile(FixtureRecord):
    review: ReviewRow
    flow: dict[str, FlowRow]
    databases: DatabasesRow
    tools: list[ToolRow]
    criteria: CriteriaRow
    research_questions: list[Text] | None
    case_studies: list[CaseStudyRow]
    named_publications: NamedRow
    not_established: list[Text]


# taxonomy.yaml and definitions.yaml


class ClassRow(FixtureRecord):
    slug: Slug
    name: Text
    grade: Grade


class StrategyRow(ClassRow):
    classes: Annotated[list[Slug], Field(min_length=1)]
    note: str = ""


class GroupRow(ClassRow):
    strategies: list[StrategyRow]


class FamilyRow(ClassRow):
    groups: list[GroupRow]


class TaxonomyFile(FixtureRecord):
    classes: list[ClassRow]
    families: list[FamilyRow]


class DefinitionRow(FixtureRecord):
    idea: Text
    trade: Text
    not_when: Text


class DefinitionsFile(FixtureRecord):
    classes: dict[Slug, Text]
    families: dict[Slug, Text]
    groups: dict[Slug, Text]
    strategies: dict[Slug, DefinitionRow]


# synonyms.yaml


class SynonymsRow(FixtureRecord):
    """What else people search for, by how it stands to the head; a text stands in one list once."""

    same: list[Word] = []
    narrower: list[Word] = []
    see_also: list[Word] = []
    whole_word: list[Word] = []
    note: str = ""

    @model_validator(mode="after")
    def has_each_word_once(self) -> Self:
        given = [*self.same, *self.narrower, *self.see_also, *self.whole_word]
        if repeated := {word for word in given if given.count(word) > 1}:
            raise ValueError(f"{', '.join(sorted(repeated))}: stands here twice")
        return self


class TermRow(SynonymsRow):
    head: Word


class SynonymsFile(FixtureRecord):
    strategies: dict[Slug, SynonymsRow]
    terms: list[TermRow]


# publications.jsonl


class ClaimRow(FixtureRecord):
    objective: Objective
    metric: Text
    value: Number
    direction: Direction
    baseline: Text | None
    conditions: Text | None
    source: ClaimSource


class MembershipRow(FixtureRecord):
    status: Membership
    grade: Literal["A", "B", "C", "C+", "B+C"] | None


class PublicationRow(FixtureRecord):
    key: Key
    title: Text
    authors: Annotated[list[Text], Field(min_length=1)]
    year: Year
    month: Month | None
    venue: Text
    venue_type: VenueKind
    arxiv_id: ArxivId | None
    doi: Doi | None
    url: Url
    code_url: Url | None
    artifact_name: Text
    artifact_kind: ArtifactKind
    classes: Annotated[list[Slug], Field(min_length=1)]
    strategies: Annotated[list[Slug], Field(min_length=1)]
    hardware: list[Text]
    models: list[Text]
    max_params_billion: Annotated[Number, Field(gt=0)] | None
    claims: list[ClaimRow]
    summary: Text
    limitation: Text
    limitation_basis: LimitationBasis
    confidence: Confidence
    membership: MembershipRow
    sources: Annotated[list[Text], Field(min_length=1)]
    fields_from_general_knowledge: bool
