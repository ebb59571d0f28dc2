"""The large model, both cascades of it, and all that they say to the queries of some text."""

from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Stage
from casestudies.lab.studies.cascade.about import SHORTEST
from casestudies.lab.studies.cascade.cascade import Queries
from casestudies.lab.studies.cascade.claims import EARLY_EXIT, LARGE, SMALL_TO_LARGE
from casestudies.lab.studies.cascade.steps import (
    Answer,
    EarlyExit,
    Small,
    SmallToLarge,
    Steps,
    operations_of_blocks,
    operations_of_head,
    operations_of_shortcut,
    shortcut,
)


@dataclass(frozen=True)
class Asked:
    """All that was said to the queries of some windows, each (Q)."""

    windows: Tensor  # count, T
    first: dict[str, Answer]  # by cascade
    last: Answer
    truth: Tensor
    lengths: Tensor  # tokens of each query

    def queries(self, cascade: str, costs: tuple[Tensor, Tensor], which: Tensor) -> Queries:
        """Return the queries of these numbers with the costs of both steps."""
        first = self.first[cascade]
        return Queries(
            first.confidence[which],
            (first.token == self.truth)[which],
            (self.last.token == self.truth)[which],
            *costs,
        )

    def text(self, query: int) -> Tensor:
        """Return the text (1, tokens) that the query of this number asks about."""
        row = query // (len(self.lengths) // len(self.windows))
        return self.windows[row : row + 1, : int(self.lengths[query])]


class Bench:
    """The large model, both cascades of it, and what a query costs in each."""

    def __init__(
        self, large: LanguageModel, small: Small, exit_after: int, windows: Tensor
    ) -> None:
        self.large, self.small = large, small
        self.exit_after = min(exit_after, len(large.blocks) - 1)
        matrix = shortcut(large, self.exit_after, windows)
        self.steps: dict[str, Steps] = {
            SMALL_TO_LARGE: SmallToLarge(small, large),
            EARLY_EXIT: EarlyExit(large, self.exit_after, matrix),
        }

    @torch.inference_mode()
    def asked(self, windows: Tensor, stage: Stage) -> Asked:
        """Return what is said after the first `SHORTEST` tokens of each window and all later."""
        said: dict[str, list[Answer]] = {SMALL_TO_LARGE: [], EARLY_EXIT: [], LARGE: []}
        early, first = self.steps[EARLY_EXIT], SHORTEST - 1
        for done, window in enumerate(windows):
            stage.at(done / len(windows))
            read = window[None, :-1]
            said[SMALL_TO_LARGE].append(self.small.ask(read, first))
            answer, begun = early.ask_first(read, first)
            said[EARLY_EXIT].append(answer)
            said[LARGE].append(early.ask_last(read, first, begun))
        joined = {name: _joined(answers) for name, answers in said.items()}
        last = joined.pop(LARGE)
        lengths = torch.arange(SHORTEST, windows.shape[1], device=windows.device)
        truth = windows[:, SHORTEST:].flatten()
        return Asked(windows, joined, last, truth, lengths.repeat(len(windows)))

    def operations(self, cascade: str, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the operations of both steps for texts of these lengths, each (Q)."""
        if cascade == SMALL_TO_LARGE:
            model = self.small.model
            first = operations_of_blocks(model, len(model.blocks), lengths)
            return first + operations_of_head(model), self.operations_alone(lengths)
        remaining = len(self.large.blocks) - self.exit_after
        first = operations_of_blocks(self.large, self.exit_after, lengths)
        last = operations_of_blocks(self.large, remaining, lengths)
        return first + operations_of_shortcut(self.large), last + operations_of_head(self.large)

    def operations_alone(self, lengths: Tensor) -> Tensor:
        """Return the operations of the large model by itself (Q)."""
        blocks = operations_of_blocks(self.large, len(self.large.blocks), lengths)
        return blocks + operations_of_head(self.large)


def _joined(answers: list[Answer]) -> Answer:
    return Answer(*(torch.cat(parts).flatten() for parts in zip(*answers, strict=True)))
