"""What the pages read of the review beyond one queryset."""

from reviewapp.corpus.models import Review
from reviewapp.corpus.prisma.flow import Entry, Flow


def review_flow(review: Review) -> Flow:
    """Return the PRISMA numbers that a source reports of the review, each with its grade.

    The names of the searched databases are known without their numbers.
    """
    entries = {
        number.key: Entry(number.n, origin="reported", grade=number.grade, note=number.note)
        for number in review.flow_numbers.all()
    }
    databases = list(review.databases.all())
    if databases and "database_specific_results" not in entries:
        unnamed = (review.database_count or 0) - len(databases)
        entries["database_specific_results"] = Entry(
            items=tuple((database.name, None) for database in databases),
            origin="reported",
            grade="/".join(sorted({database.grade for database in databases})),
            note=f"names only; {unnamed} more database not named" if unnamed > 0 else "names only",
        )
    return Flow(entries)
