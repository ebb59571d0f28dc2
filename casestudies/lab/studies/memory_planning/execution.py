"""A tape carried out again: in memory of its own for each tensor, or where a plan says.

`Planned` writes each result by `out=` into bytes that were there before, so that nothing is
allocated; where PyTorch has no variant that writes there, the result is computed elsewhere and
copied, which is counted. `Allocating` is the same calls with memory asked for by each.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from casestudies.lab.studies.memory_planning.plans import Plan
from casestudies.lab.studies.memory_planning.tape import Call, Tape, View, replaced

aten = torch.ops.aten
NOTHING = 0xFF  # bytes that are no number when read as floats


def _embedded(out: Tensor, weight: Tensor, tokens: Tensor, *_: object) -> None:
    torch.index_select(weight, 0, tokens.flatten(), out=out.view(-1, weight.shape[1]))


# Where PyTorch's own variant computes elsewhere and copies, and another way does not.
WRITERS: Mapping[Any, Callable[..., object]] = {
    aten.clone.default: lambda out, x, **_: out.copy_(x),
    aten.masked_fill.Scalar: lambda out, x, mask, value: out.copy_(x).masked_fill_(mask, value),
    aten.mul.Scalar: lambda out, x, factor: torch.mul(x, factor, out=out),
    aten.div.Scalar: lambda out, x, divisor: torch.div(x, divisor, out=out),
    aten.embedding.default: _embedded,
}


class Planned:
    """The calls of a tape, bound to their places in memory that is allocated once."""

    def __init__(self, tape: Tape, plan: Plan, memory: list[Tensor]) -> None:
        """Bind the calls; `memory` is of bytes, a tensor for each chunk of the plan or longer."""
        self.copied = 0  # bytes of results that are computed elsewhere first
        self._memory = memory
        self._pieces = [
            memory[spot.chunk][spot.offset : spot.offset + life.size]
            for spot, life in zip(plan.spots, tape.lives, strict=True)
        ]
        self._steps = [self._bound(call) for call in tape.calls]
        self.results: list[Tensor] = [self._at(result) for result in tape.results]

    def forget(self) -> None:
        """Overwrite all memory, so that a call that reads what no call wrote is found out."""
        for chunk in self._memory:
            chunk.fill_(NOTHING)

    @torch.no_grad()
    def run(self) -> list[Tensor]:
        """Carry all out; what is returned holds until the next run."""
        for step in self._steps:
            step()
        return self.results

    def _at(self, view: View) -> Tensor:
        return view.within(self._pieces[view.piece])

    def _bound(self, call: Call) -> Callable[[], object]:
        arguments = replaced(call.arguments, View, self._at)
        named = {name: replaced(value, View, self._at) for name, value in call.named.items()}
        outs = [self._at(view) for view in call.makes]
        if not outs:  # it changes what is there
            return partial(call.function, *arguments, **named)
        if call.function in WRITERS:
            return partial(WRITERS[call.function], outs[0], *arguments, **named)
        writer, names = _writer(call.function)
        if writer is not None:
            return partial(writer, *arguments, **named, **dict(zip(names, outs, strict=True)))
        self.copied += sum(out.nbytes for out in outs)
        return partial(_copied, outs, partial(call.function, *arguments, **named))


class Allocating:
    """The calls of a tape, each in memory that is freed after the last use."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        ends: list[list[int]] = [[] for _ in tape.calls]
        for piece, life in enumerate(tape.lives):
            if life.last < len(tape.calls):
                ends[life.last].append(piece)
        self._steps = list(zip(tape.calls, ends, strict=True))

    @torch.no_grad()
    def run(self) -> list[Tensor]:
        """Carry all out and return the results."""
        held: dict[int, tuple[View, Tensor]] = {}

        def there(view: View) -> Tensor:
            made, tensor = held[view.piece]
            return tensor if view == made else view.within(tensor)

        for call, ends in self._steps:
            arguments = replaced(call.arguments, View, there)
            named = {name: replaced(value, View, there) for name, value in call.named.items()}
            made = _tensors(call.function(*arguments, **named))
            if call.makes:
                pairs = zip(call.makes, made, strict=True)
                held |= {view.piece: (view, result) for view, result in pairs}
            made = ()
            for piece in ends:
                del held[piece]
        return [there(view) for view in self._tape.results]


@cache
def _writer(function: Any) -> tuple[Any, list[str]]:
    """Return the variant of an operation that writes to given places, and their names, or None."""
    asked = _inputs(function)
    for name in function.overloadpacket.overloads():
        found = getattr(function.overloadpacket, name)
        outs = [argument.name for argument in found._schema.arguments if argument.is_out]
        if outs and _inputs(found) == asked and torch.Tag.generated not in found.tags:
            return found, outs
    return None, []


def _inputs(function: Any) -> list[tuple[str, str]]:
    arguments = function._schema.arguments
    return [(argument.name, str(argument.type)) for argument in arguments if not argument.is_out]


def _copied(outs: list[Tensor], compute: Callable[[], Any]) -> None:
    for out, result in zip(outs, _tensors(compute()), strict=True):
        out.copy_(result)


def _tensors(results: Any) -> tuple[Tensor, ...]:
    several = results if isinstance(results, tuple) else (results,)
    return tuple(result for result in several if isinstance(result, Tensor))
