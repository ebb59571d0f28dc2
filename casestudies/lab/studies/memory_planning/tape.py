"""The calls of a real computation, recorded once: what each makes, and how long it is needed.

A piece of memory begins with the call that makes it and ends with the last one that reads or writes
it; views of it are no calls.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from casestudies.lab.studies.memory_planning.plans import Life, aligned


@dataclass(frozen=True)
class View:
    """A tensor that lies in a recorded piece of memory."""

    piece: int
    size: torch.Size
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype

    def within(self, memory: Tensor) -> Tensor:
        """Return it in this memory, a tensor in a row that begins where its piece does."""
        numbers = memory.view(self.dtype)
        return numbers.as_strided(self.size, self.stride, numbers.storage_offset() + self.offset)


@dataclass(frozen=True)
class Call:
    """An operation with its arguments, recorded tensors among them as views, and what it makes."""

    function: Any
    arguments: Sequence[Any]
    named: Mapping[str, Any]
    makes: tuple[View, ...]


@dataclass
class Tape:
    """Calls in turn, the bytes of each piece of memory, and which are the computation's results."""

    calls: list[Call] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    results: list[View] = field(default_factory=list)

    @cached_property
    def lives(self) -> list[Life]:
        """Return the bytes and first and last use of each piece; results are needed to the end."""
        uses = [(view.piece, at) for at, call in enumerate(self.calls) for view in views_in(call)]
        uses += [(view.piece, len(self.calls)) for view in self.results]
        first, last = dict(reversed(uses)), dict(uses)
        return [Life(aligned(size), first[i], last[i]) for i, size in enumerate(self.sizes)]


def record(run: Callable[[], Iterable[Tensor]]) -> Tape:
    """Return the calls of a computation that returns tensors, which is carried out for that."""
    with _Recorder() as recorder:
        results = list(run())
    recorder.tape.results = [recorder.view(result) for result in results]
    return recorder.tape


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.tape = Tape()
        self._pieces: dict[int, int] = {}
        self._seen: list[StorageWeakRef] = []  # holds no memory, only its name
        self._outside: set[int] = set()  # weights and inputs

    def view(self, tensor: Tensor) -> Any:
        """Return a recorded tensor as a view, and any other as it is."""
        piece = self._pieces.get(_storage(tensor))
        if piece is None:
            self._outside.add(_storage(tensor))
            return tensor
        first = int(tensor.storage_offset())
        return View(piece, tensor.shape, tensor.stride(), first, tensor.dtype)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        arguments = replaced(args, Tensor, self.view)
        named = {name: replaced(v, Tensor, self.view) for name, v in (kwargs or {}).items()}
        results = function(*args, **(kwargs or {}))
        made = [result for result in tree_iter(results) if isinstance(result, Tensor)]
        new = [result for result in made if self._is_new(result)]
        if new or function._schema.is_mutable:
            makes = tuple(self.view(result) for result in new)
            self.tape.calls.append(Call(function, arguments, named, makes))
        return results

    def _is_new(self, tensor: Tensor) -> bool:
        key = _storage(tensor)
        if key in self._pieces or key in self._outside:
            return False
        self._seen.append(StorageWeakRef(tensor.untyped_storage()))
        self._pieces[key] = len(self.tape.sizes)
        self.tape.sizes.append(tensor.untyped_storage().nbytes())
        return True


def replaced(value: Any, kind: type, by: Callable[[Any], Any]) -> Any:
    """Return the argument with what is of this kind replaced, also in a list."""
    if isinstance(value, kind):
        return by(value)
    if isinstance(value, list | tuple):
        return [replaced(item, kind, by) for item in value]
    return value


def views_in(call: Call) -> list[View]:
    """Return all that a call reads, changes or makes."""
    found = tree_iter((call.arguments, dict(call.named), call.makes))
    return [view for view in found if isinstance(view, View)]


def sizes_at(tapes: Mapping[int, Tape], length: int) -> list[Life]:
    """Return what pieces are at another length, of tapes at three lengths, equally far apart.

    Sizes are polynomials of second degree at most in the length, so three points give them.
    Raises ValueError where the tapes are not of the same calls.
    """
    (x0, one), (x1, two), (_, three) = sorted(tapes.items())
    if not _uses(one) == _uses(two) == _uses(three):
        raise ValueError("a computation whose calls depend on the length")
    step, far = x1 - x0, length - x0
    lives = []
    for a, b, c, use in zip(one.sizes, two.sizes, three.sizes, _uses(one), strict=True):
        grown = 2 * step * far * (b - a) + far * (far - step) * (c - 2 * b + a)
        lives.append(Life(aligned(a + grown // (2 * step**2)), *use))
    return lives


def _uses(tape: Tape) -> list[tuple[int, int]]:
    return [(life.first, life.last) for life in tape.lives]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
