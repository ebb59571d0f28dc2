"""What a study declares, as text to read."""

from collections.abc import Iterable, Iterator

from casestudies.lab.contract import Study, bounds_of


def describe(study: Study) -> Iterator[str]:
    """Yield the lines, in Markdown, of all that the study declares."""
    yield from (f"# {study.title}", "", study.summary, "", f"Limits: {study.limits}", "")
    yield from _table(
        ("Parameter", "Role", "Allowed", "Meaning"),
        (
            (
                f"--{name.replace('_', '-')}",
                schema["role"],
                bounds_of(schema),
                schema["description"],
            )
            for name, schema in study.schemas.items()
        ),
    )
    yield from _table(
        ("Preset", "Minutes", "Parameters"),
        (
            (name, f"{preset.minutes:g}", ", ".join(f"{k} {v}" for k, v in preset.values.items()))
            for name, preset in study.presets.items()
        ),
    )
    yield from _table(
        ("Variant", "Role", "Meaning"), ((v.name, v.role, v.meaning) for v in study.variants)
    )
    if study.settings:
        settings = ((s.name, s.unit, s.meaning) for s in study.settings)
        yield from _table(("Setting", "Unit", "Meaning"), settings)
    yield from _table(
        ("Metric", "Unit", "Direction", "Kind", "How"),
        ((m.name, m.unit_in_words, m.direction, m.evidence, m.how) for m in study.metrics),
    )
    yield from ("Claims: " + (", ".join(a.claim for a in study.answers) or "none"),)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield from (_row(header), _row(("---",) * len(header)))
    yield from map(_row, rows)
    yield ""


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
