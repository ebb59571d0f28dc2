"""A comparison as a LaTeX table in the manner of booktabs."""

from collections.abc import Iterable

from pylatexenc.latexencode import UnicodeToLatexEncoder

from reviewapp.ui.export import Provenance
from taxonomy.comparison.table import ComparisonTable

WIDTH = 0.94  # of the text, shared by the columns; the rest is the space between them

# Characters that LaTeX has no name for stay as they are: LaTeX reads UTF-8.
ENCODER = UnicodeToLatexEncoder(
    unknown_char_policy="keep",
    unknown_char_warning=False,
    replacement_latex_protection="braces",
)


def escape(content: str) -> str:
    """Return the text so that LaTeX reads nothing in it as a command, in one paragraph."""
    return str(ENCODER.unicode_to_latex(" ".join(content.split())))


def as_latex(comparison: ComparisonTable, about: Provenance) -> str:
    """Return the comparison as a longtable; what cannot be compared is said in the first column."""
    columns = len(comparison.items) + 1
    widths = rf">{{\raggedright\arraybackslash}}p{{{WIDTH / columns:.3f}\linewidth}}" * columns
    return "\n".join(
        [
            f"% {' '.join(about.line.split())}",
            r"% Needs \usepackage{booktabs,longtable,array}; wide tables read best in landscape.",
            rf"\begin{{longtable}}{{{widths}}}",
            r"\toprule",
            _line(["", *(item.name for item in comparison.items)]),
            r"\midrule\endhead",
            r"\bottomrule\endfoot",
            *_body(comparison, columns),
            r"\end{longtable}",
            "",
        ]
    )


def _body(comparison: ComparisonTable, columns: int) -> Iterable[str]:
    for section in comparison.all_sections:
        yield rf"\multicolumn{{{columns}}}{{l}}{{\textbf{{{escape(section.title)}}}}} \\"
        for row in section.rows:
            label = f"{row.label} ({row.note})" if row.note else row.label
            yield _line([label, *(cell.with_delta for cell in row.cells)])
        yield r"\addlinespace"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(map(escape, cells)) + r" \\"
