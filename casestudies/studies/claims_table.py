"""What the reference runs found of the claims that studies answer, as a table for the README."""

from collections import Counter, defaultdict

from casestudies.lab.catalogue import STUDIES
from taxonomy.choices import Status
from taxonomy.claims.outcomes import standing_outcomes
from taxonomy.models import Claim

COLUMNS = (
    Status.SUPPORTED,
    Status.DIRECTION_AGREES,
    Status.NOT_REPRODUCED,
    Status.NOT_COMPARABLE,
    Status.NOT_RUN,
)


def claims_table() -> str:
    """Return the table in Markdown: a row for each study and class of hardware, and their sums.

    A claim that a study has not answered on some hardware is not run there.
    """
    found: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    shipped = standing_outcomes().filter(shipped=True).values_list("study", "hardware", "status")
    for study, hardware, status in shipped:
        found[hardware][study][status] += 1
    header = ("study", "hardware", "claims", *(status.value for status in COLUMNS))
    lines = [_line(header), _line(["---", "---", *["--:"] * (len(COLUMNS) + 1)])]
    answering = Counter(Claim.objects.exclude(study="").order_by().values_list("study", flat=True))
    for hardware in sorted(found):
        whole: Counter[str] = Counter()
        for slug, study in STUDIES.items():
            if statuses := found[hardware][slug]:
                statuses[Status.NOT_RUN] += answering[slug] - statuses.total()
                lines.append(_row(study.name, hardware, statuses))
                whole.update(statuses)
        lines.append(_row("all", hardware, whole))
    return "\n".join(lines)


def _row(study: str, hardware: str, statuses: Counter[str]) -> str:
    numbers = (str(statuses[status] or "") for status in COLUMNS)
    return _line([study, hardware, str(statuses.total()), *numbers])


def _line(cells: "tuple[str, ...] | list[str]") -> str:
    return f"| {' | '.join(cells)} |"
