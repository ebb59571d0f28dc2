"""Real text that every installation has, split by document.

Topics of Python's reference quote each other: a quarter of the lines of its evaluation part stand
in its calibration part too, which favours what learns by heart.
"""

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics

import torch
from tokenizers import Tokenizer
from torch import Tensor

EVALUATION_SHARE = 0.25
SECTION_CHARACTERS = 10_000


@dataclass(frozen=True)
class Document:
    """A named piece of text, never divided between calibration and evaluation."""

    name: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """Documents to calibrate or train on, and others to evaluate on."""

    name: str
    calibration: tuple[Document, ...]
    evaluation: tuple[Document, ...]
    sha256: str


def python_reference() -> list[Document]:
    """Return the topics of Python's own reference, about 465,000 characters."""
    return [Document(name, text) for name, text in sorted(topics.items())]


def docstrings(packages: Iterable[str]) -> list[Document]:
    """Return the docstrings of installed packages, one document a module, read without import.

    Their tests are left out: they take longest to read and say least.
    Raises ModuleNotFoundError if a package is not installed.
    """
    return [document for package in packages for document in _docstrings_of(package)]


@cache
def _docstrings_of(package: str) -> tuple[Document, ...]:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    root = Path(spec.submodule_search_locations[0])
    paths = ((path, path.relative_to(root)) for path in sorted(root.rglob("*.py")))
    return tuple(
        Document(f"{package}/{name}", text)
        for path, name in paths
        if "tests" not in name.parts and (text := _docstrings_in(path))
    )


def _docstrings_in(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented))
    return "\n\n".join(text for text in found if text)


def sections(path: Path) -> list[Document]:
    """Return a UTF-8 file in sections of about 10,000 characters, cut at blank lines."""
    documents: list[Document] = []
    section: list[str] = []
    for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
        section.append(paragraph)
        if sum(map(len, section)) >= SECTION_CHARACTERS:
            documents.append(Document(f"{path.name}#{len(documents)}", "\n\n".join(section)))
            section = []
    if section:
        documents.append(Document(f"{path.name}#{len(documents)}", "\n\n".join(section)))
    return documents


def corpus(path: Path | None = None, documented: Iterable[str] = (), of_these: str = "") -> Corpus:
    """Return the text of `path`, or Python's reference, split by `split`.

    To the reference the docstrings of the packages `documented` are added, which its name calls
    `of_these`.
    """
    if path:
        return split(path.name, sections(path))
    name = "Python reference (pydoc_data.topics)"
    more = docstrings(documented)
    return split(
        f"{name} and docstrings of {of_these}" if more else name, python_reference() + more
    )


def in_turn(first: Corpus, then: Corpus) -> tuple[str, str]:
    """Return the name and the hash of two texts that are read one after the other."""
    both = hashlib.sha256(f"{first.sha256} {then.sha256}".encode()).hexdigest()
    return f"{first.name}, then {then.name}", both


def split(name: str, documents: Iterable[Document]) -> Corpus:
    """Return the documents as a corpus; a hash of its name decides on which side each goes."""
    parts: tuple[list[Document], list[Document]] = ([], [])
    digest = hashlib.sha256()
    for document in documents:
        name_hash = hashlib.sha256(document.name.encode()).digest()
        parts[name_hash[0] < 256 * EVALUATION_SHARE].append(document)
        digest.update(name_hash + hashlib.sha256(document.text.encode()).digest())
    return Corpus(name, tuple(parts[0]), tuple(parts[1]), digest.hexdigest())


def windows(documents: Iterable[Document], tokenizer: Tokenizer, length: int) -> Tensor:
    """Return the documents' tokens, one after another, in whole windows (count, length).

    Raises ValueError if there is no whole one.
    """
    encoded = tokenizer.encode_batch([document.text for document in documents])
    ids = [token for encoding in encoded for token in encoding.ids]
    if len(ids) < length:
        raise ValueError(f"the text has {len(ids)} tokens, not the {length} of a window")
    count = len(ids) // length
    return torch.tensor(ids[: count * length], dtype=torch.long).view(count, length)


def sample(rows: Tensor, count: int, seed: int) -> Tensor:
    """Return `count` of the rows, drawn without repeats. Raises ValueError if there are fewer."""
    if count > len(rows):
        raise ValueError(f"the text has {len(rows)} windows of {rows.shape[1]} tokens, not {count}")
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows[order[:count]]


def spaced(rows: Tensor, count: int) -> Tensor:
    """Return `count` rows at even distances: the same ones whatever the seed.

    Raises ValueError if there are fewer.
    """
    if count > len(rows):
        raise ValueError(f"the text has {len(rows)} windows of {rows.shape[1]} tokens, not {count}")
    return rows[torch.arange(count) * len(rows) // count]
