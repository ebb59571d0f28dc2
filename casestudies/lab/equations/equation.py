"""What an equation says of itself, what it accepts, and the letters that most of them share."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec

P = ParamSpec("P")
# Wider than anything that is built, and narrow enough that no product of a few leaves the floats.
SMALLEST, LARGEST = 1e-30, 1e30


@dataclass(frozen=True)
class Domain:
    """The values that a symbol may have, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    try:
        return repr(value)[:40]
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number of thousands of digits"


def one_of(*values: int) -> Domain:
    """Return the domain of just these whole numbers."""
    return Domain("one of " + ", ".join(map(str, values)), lambda x: _is_whole(x) and x in values)


COUNT = Domain(
    "a whole number from 1 to 10^30", lambda value: _is_whole(value) and 1 <= value <= LARGEST
)
NATURAL = Domain(
    "a whole number from 0 to 10^30", lambda value: _is_whole(value) and 0 <= value <= LARGEST
)
COUNT_OR_NONE = Domain(COUNT.words + ", or None", lambda value: value is None or COUNT.holds(value))
POSITIVE = Domain(
    "a number from 10^-30 to 10^30",
    lambda value: _is_number(value) and SMALLEST <= value <= LARGEST,
)
NOT_NEGATIVE = Domain(
    "0 or a number from 10^-30 to 10^30",
    lambda value: _is_number(value) and (value == 0 or SMALLEST <= value <= LARGEST),
)
SHARE = Domain("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)


@dataclass(frozen=True)
class Symbol:
    """A letter of a formula: the parameter of the function that it is, its meaning and unit."""

    letter: str
    parameter: str
    meaning: str
    unit: str = ""
    domain: Domain = COUNT

    def check(self, value: Any) -> None:
        """Raise ValueError, with the letter and its meaning, where the value is not allowed."""
        if not self.domain.holds(value):
            raise self.wrong(value, f"is not {self.domain.words}")

    def wrong(self, value: Any, what: str) -> ValueError:
        """Return the error that names the symbol, the value that it has, and what is wrong."""
        return ValueError(f"{self.letter}, {self.meaning}: {_shown(value)} {what}")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where an equation is published: a publication of the corpus by its key, or a reference.

    `place` is the equation, table, theorem or section in it. `from_memory` says that nobody has
    looked the place up in a copy for this project.
    """

    place: str
    publication: str = ""
    reference: str = ""
    from_memory: bool = False

    def __post_init__(self) -> None:
        if bool(self.publication) == bool(self.reference):
            raise ValueError("a source is either a publication of the corpus or a reference")


@dataclass(frozen=True, kw_only=True)
class Equation(Generic[P]):
    """One equation of the cost model. Calling it with its symbols by name gives its value.

    `formula` is for people, in the letters of the symbols, and never evaluated. `unit` is that of
    the value. `holds` says for what the equation is right, `fails` for what it is not.
    """

    name: str
    formula: str
    unit: str
    symbols: tuple[Symbol, ...]
    holds: str
    fails: str
    sources: tuple[Source, ...]
    function: Callable[P, float]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> float:
        """Return the value; raise ValueError, naming the symbol, for what is not allowed."""
        for symbol in self.symbols:
            if symbol.parameter in kwargs:
                symbol.check(kwargs[symbol.parameter])
        return self.function(*args, **kwargs)

    @property
    def slug(self) -> str:
        """Return the name by which code calls it, within its subject."""
        return self.function.__name__

    @property
    def subject(self) -> str:
        """Return the name of the module that it stands in."""
        return self.function.__module__.rpartition(".")[2]

    @property
    def meaning(self) -> str:
        """Return what its value is, in a sentence or two."""
        return inspect.cleandoc(self.function.__doc__ or "")


def equation(
    name: str,
    formula: str,
    unit: str,
    *symbols: Symbol,
    holds: str,
    fails: str,
    sources: tuple[Source, ...],
) -> Callable[[Callable[P, float]], Equation[P]]:
    """Return a decorator that makes an Equation of the function that computes it."""

    def declare(function: Callable[P, float]) -> Equation[P]:
        return Equation(
            name=name,
            formula=formula,
            unit=unit,
            symbols=symbols,
            holds=holds,
            fails=fails,
            sources=sources,
            function=function,
        )

    return declare


def check_divides(divisor: Symbol, part: int, dividend: Symbol, whole: int) -> None:
    """Raise ValueError, naming both symbols, where the part does not divide the whole."""
    if whole % part:
        raise divisor.wrong(part, f"does not divide {dividend.letter} = {whole}")


def check_below(smaller: Symbol, value: float, larger: Symbol, limit: float) -> None:
    """Raise ValueError, naming both symbols, where the value is not below the limit."""
    if value >= limit:
        raise smaller.wrong(value, f"is not below {larger.letter} = {limit}")


PARAMETERS = Symbol("P", "parameters", "parameters of the model", "parameters", POSITIVE)
LAYERS = Symbol("L", "layers", "layers", "layers")
WIDTH = Symbol("h", "hidden", "width of the model", "numbers")
HEADS = Symbol("a", "heads", "attention heads", "heads")
KV_HEADS = Symbol("k", "kv_heads", "heads of keys and values", "heads")
HEAD_WIDTH = Symbol("d", "head_dim", "width of a head", "numbers")
VOCABULARY = Symbol("V", "vocabulary", "tokens in the vocabulary", "tokens")
TOKENS = Symbol("s", "tokens", "tokens in a sequence", "tokens")
BATCH = Symbol("b", "batch", "sequences in a batch, or in a micro-batch of a pipeline", "sequences")
RANKS = Symbol("N", "ranks", "ranks that share the work", "ranks")
TENSOR_RANKS = Symbol("t", "tensor_ranks", "ranks that split each layer", "ranks")
STAGES = Symbol("p", "stages", "stages of the pipeline", "stages")
MICRO_BATCHES = Symbol("m", "micro_batches", "micro-batches in a step", "micro-batches")
CHUNKS = Symbol("v", "chunks", "parts of the model on each rank of the pipeline", "parts")
NUMBER_BYTES = Symbol("e", "number_bytes", "bytes of a number", "byte", POSITIVE)
DEVICES = Symbol("n", "devices", "devices", "devices")
