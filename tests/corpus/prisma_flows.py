"""Flows for the PRISMA tests: published figures, a filled diagram, a costly one, random ones."""

import csv
import io

from hypothesis import strategies as st

from reviewapp.corpus.prisma.csv_file import write
from reviewapp.corpus.prisma.flow import MAX_N, VALUES, Entry, Flow


def declared(**numbers: int) -> Flow:
    return Flow({key: Entry(n, origin="declared") for key, n in numbers.items()})


def listed(*items: tuple[str, int | None]) -> Entry:
    return Entry(items=items, origin="declared")


REVIEW = Flow(
    {
        "database_results": Entry(983, origin="reported", grade="A", note="abstract"),
        "new_reports": Entry(65, origin="reported", grade="A", note="abstract"),
    }
)
# Publications AEDS-09-2025-0494001 and HE-08-2025-0134002.
FIGURE_ONE = declared(
    database_results=162,
    register_results=0,
    duplicates=23,
    excluded_automatic=0,
    excluded_other=0,
    records_screened=139,
    records_excluded=25,
    dbr_sought_reports=114,
    dbr_notretrieved_reports=4,
    dbr_assessed=110,
    dbr_excluded=88,
    new_reports=22,
)
FIGURE_TWO = declared(
    database_results=678,
    register_results=22,
    duplicates=167,
    excluded_automatic=0,
    excluded_other=0,
    records_screened=533,
    records_excluded=398,
    dbr_sought_reports=135,
    dbr_notretrieved_reports=0,
    dbr_assessed=135,
    dbr_excluded=93,
    new_reports=42,
)
FILLED = Flow(
    {
        **FIGURE_TWO.entries,
        **declared(
            previous_studies=40,
            previous_reports=44,
            website_results=12,
            organisation_results=8,
            citations_results=31,
            other_sought_reports=40,
            other_notretrieved_reports=3,
            other_assessed=37,
            new_studies=60,
            new_reports=67,
            total_studies=100,
            total_reports=111,
        ).entries,
        "database_specific_results": listed(("Scopus", 400), ("IEEE Xplore", 278)),
        "register_specific_results": listed(("ClinicalTrials.gov", 22)),
        "dbr_excluded": listed(("Wrong population", 50), ("Not in English", 43)),
        "other_excluded": listed(("Abstract only", 12)),
    }
)

counts = st.none() | st.integers(0, MAX_N)
numbers = st.integers(0, MAX_N).map(lambda n: Entry(n, origin="declared"))


def flows(labels: st.SearchStrategy[str]) -> st.SearchStrategy[Flow]:
    """Any flow whose items have these labels."""
    items = st.lists(st.tuples(labels, counts), min_size=1, max_size=4)
    lists = items.map(lambda found: listed(*found))
    return st.fixed_dictionaries(
        {}, optional={v.key: numbers | lists if v.listed else numbers for v in VALUES}
    ).map(Flow)


def visible(label: str) -> bool:
    return any(c.isprintable() and not c.isspace() for c in label)


any_label = st.text(st.characters(exclude_categories=()), min_size=1, max_size=30).filter(visible)


def with_reasons(count: int) -> str:
    """A CSV that lists so many reasons for exclusion, each of them a line of the diagram."""
    rows = list(csv.reader(io.StringIO(write(Flow()).decode())))
    for row in rows:
        if row[0] == "dbr_excluded":
            row[7] = ";".join(f"r{n},{n}" for n in range(count))
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
