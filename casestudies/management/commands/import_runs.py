"""`manage.py import_runs FILE…`: bring in runs that were made elsewhere, or take them out again."""

from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from casestudies.contributions import keeping
from casestudies.contributions.forms import AboutForm
from casestudies.contributions.reading import HIDDEN, MOST_BYTES, InvalidFile, read
from casestudies.models import LONGEST_FILE_NAME, Contribution


class Command(BaseCommand):
    help = (
        "Bring in the runs of results files that somebody sent (docs/gpu.md), all of them or none;"
        " they are shown as contributed, and decide nothing until they are accepted on their page."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
        parser.add_argument("--by", default="", help="who made the runs, to be shown beside them")
        parser.add_argument("--note", default="", help="what there is to say of them")
        parser.add_argument(
            "--undo", type=int, metavar="N", help="remove contribution N with its runs"
        )

    def handle(
        self,
        *args: object,
        files: list[Path],
        by: str,
        note: str,
        undo: int | None,
        **options: object,
    ) -> None:
        if (undo is None) == (not files):
            raise CommandError("Name results files, or a contribution to --undo.")
        for line in _undone(undo) if undo is not None else _imported(files, by, note):
            self.stdout.write(line)


def _undone(number: int) -> Iterator[str]:
    contribution = Contribution.objects.filter(pk=number).first()
    if contribution is None:
        raise CommandError(f"There is no contribution {number}.")
    yield f"Contribution {number} is gone with its runs: {keeping.undo(contribution)}"


def _imported(files: list[Path], by: str, note: str) -> Iterator[str]:
    form = AboutForm({"contributor": by, "note": note})
    if not form.is_valid():
        options = {"contributor": "--by", "note": "--note"}
        faults = (
            f"{options[name]}: {' '.join(map(str, said))}" for name, said in form.errors.items()
        )
        raise CommandError("\n".join(faults))
    found, faulty = [], []
    for path in files:
        name = HIDDEN.sub("\ufffd", path.name)[-LONGEST_FILE_NAME:]
        try:
            found.append((name, read(name, _start_of(path))))
        except OSError as error:
            faulty.append(f"{name}: {error.strerror}")
        except InvalidFile as error:
            faulty += error.faults
    if faulty:
        raise CommandError("\n".join([*faulty, "Nothing was imported."]))
    for brought in keeping.bring_in(found, **form.cleaned_data):
        for known in brought.known:
            yield f"{brought.file_name}: record {known.record} is here already: {known.run.label}"
        if brought.contribution:
            place = brought.contribution.get_absolute_url()
            yield f"{brought.file_name}: {len(brought.runs)} imported, see {place}"
        else:
            yield f"{brought.file_name}: nothing in it is new"


def _start_of(path: Path) -> bytes:
    """Return no more of the file than tells that it is too large."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)
