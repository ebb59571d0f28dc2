"""What is searched for, as data, and as PostgreSQL writes it."""

from dataclasses import dataclass

MOST_LOOSENED = 8  # clauses


@dataclass(frozen=True)
class Step:
    """One place of a phrase: any of these lexemes, so many places after the one before."""

    lexemes: tuple[str, ...]
    distance: int = 1
    prefix: bool = False

    def __str__(self) -> str:
        mark = ":*" if self.prefix else ""
        return f"({' | '.join(_quoted(lexeme) + mark for lexeme in self.lexemes)})"


@dataclass(frozen=True)
class Phrase:
    """Words that follow each other."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        first, *others = self.steps
        return str(first) + "".join(f" <{step.distance}> {step}" for step in others)


@dataclass(frozen=True)
class Wider:
    """A phrase that is searched too because of what was typed: "iteration-level scheduling"."""

    phrase: Phrase
    text: str
    because: str


@dataclass(frozen=True)
class Clause:
    """Something to be found: each of the words in one of its forms, or any of the wider phrases."""

    words: tuple[tuple[Phrase, ...], ...]
    wider: tuple[Wider, ...] = ()
    excluded: bool = False

    def written(self, *, literally: bool) -> str:
        """Return the clause for to_tsquery; `literally` leaves out what is searched too."""
        text = " & ".join(_any(forms) for forms in self.words)
        if self.wider and not literally:
            text = f"({text}) | {_any(tuple(wider.phrase for wider in self.wider))}"
        return f"!({text})" if self.excluded else f"({text})"


@dataclass(frozen=True)
class Query:
    """Branches, of which one must be met, each made of clauses, which must all be met."""

    branches: tuple[tuple[Clause, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.branches)

    def written(self, *, literally: bool = False) -> str:
        """Return the query for to_tsquery."""
        return _written(self.branches, literally=literally)

    @property
    def ranks(self) -> tuple[str, ...]:
        """Return, for to_tsquery, what ranks a record that it meets: what was typed, then all."""
        kept = (tuple(c for c in branch if not c.excluded) for branch in self.branches)
        wanted = tuple(filter(None, kept))
        both = (_written(wanted, literally=literally) for literally in (True, False))
        return tuple(dict.fromkeys(both)) if wanted else ()

    @property
    def loosened(self) -> "Query":
        """Return the query with any one of its clauses left out; none where few or many are."""
        if len(self.branches) != 1 or not 2 < len(self.wanted) <= MOST_LOOSENED:
            return Query()
        [branch] = self.branches
        return Query(tuple(tuple(c for c in branch if c is not one) for one in self.wanted))

    @property
    def wider(self) -> tuple[Wider, ...]:
        """Return all that is searched besides what was typed."""
        return tuple(wider for clause in self.wanted for wider in clause.wider)

    @property
    def wanted(self) -> tuple[Clause, ...]:
        """Return the clauses that are not excluded."""
        return tuple(c for branch in self.branches for c in branch if not c.excluded)

    @property
    def forms(self) -> tuple[Phrase, ...]:
        """Return every form of what was typed."""
        return tuple(form for c in self.wanted for forms in c.words for form in forms)


def _written(branches: tuple[tuple[Clause, ...], ...], *, literally: bool) -> str:
    return " | ".join(
        f"({' & '.join(clause.written(literally=literally) for clause in branch)})"
        for branch in branches
    )


def _any(phrases: tuple[Phrase, ...]) -> str:
    return f"({' | '.join(f'({phrase})' for phrase in dict.fromkeys(phrases))})"


def _quoted(lexeme: str) -> str:
    return f"'{lexeme}'"
