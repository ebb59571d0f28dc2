"""What the reference runs found of the claims that studies answer, as a table for the README."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from casestudies.lab.catalogue import STUDIES
from taxonomy.choices import Status
from taxonomy.claims.outcomes import standing_outcomes
from taxonomy.models import Claim

COLUMNS = (Status.SUPPORTED, Status.DIRECTION_AGREES, Status.NOT_REPRODUCED, Status.NOT_RUN)


def claims_table() -> str:
    """Return the table in Markdown: a row for each study and class of hardware, and their sums.

    A claim that a study has not answered on some hardware is not run there, and so is one that its
    run could not be compared with.
    """
    found: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    shipped = standing_outcomes().filter(shipped=True).values_list("study", "hardware", "status")
    for slug, hardware, status in shipped:
        found[hardware][slug][status] += 1
    answering = Counter(Claim.objects.exclude(study="").order_by().values_list("study", flat=True))
    header = ("study", "hardware", "claims", *(status.value for status in COLUMNS))
    lines = [_line(header), _line(["---", "---", *["--:"] * (len(COLUMNS) + 1)])]
    for hardware in sorted(found):
        whole: Counter[str] = Counter()
        for slug, study in STUDIES.items():
            if statuses := found[hardware][slug]:
                judged = sum(statuses[status] for status in COLUMNS[:-1])
                statuses[Status.NOT_RUN] = answering[slug] - judged
                lines.append(_row(study.name, hardware, statuses))
                whole.update(statuses)
        lines.append(_row("all", hardware, whole))
    return "\n".join(lines)


def _row(study: str, hardware: str, statuses: Counter[str]) -> str:
    numbers = [statuses[status] for status in COLUMNS]
    return _line([study, hardware, *(str(n or "") for n in (sum(numbers), *numbers))])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
