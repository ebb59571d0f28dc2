"""What of a flow is drawn, and in whose words: choices that change no number."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reviewapp.corpus.prisma.flow import BOXES, Arm, DiagramNumber, Flow, FlowTemplate, Stage

# The rows of the CSV that print a title, by what they are the title of.
BAR_ROWS: dict[Arm, str] = {"previous": "prevstud", "databases": "newstud", "other": "othstud"}
BAND_ROWS: dict[Stage, str] = {
    "Identification": "identification",
    "Screening": "screening",
    "Included": "included",
}
_LEFT_OUT_WHEN_EMPTY: frozenset[Arm] = frozenset({"previous", "total"})


@dataclass(frozen=True)
class Presentation:
    """How a flow is drawn.

    `labels` are the author's words by row of the CSV, where they differ from the official ones.
    `unreported` draws the lines of optional numbers that nobody reported; a main box is always
    drawn. `totals` puts the sum of the reasons into the heading above them, and
    `screening_reasons` draws those at the title and abstract stage.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    unreported: bool = True
    totals: bool = False
    screening_reasons: bool = False

    def label(self, value: DiagramNumber, variant: FlowTemplate) -> str:
        """What is printed beside a number."""
        return self.labels.get(value.key) or variant.label(value)

    def heading(self, box: str) -> str:
        """The line above the values of a box, empty where there is none."""
        heading = BOXES[box].heading
        own = [label for key, label in self.labels.items() if key in _HEADED.get(box, ())]
        return f"{own[0].rstrip(' :')}:" if own else heading

    def bar(self, arm: Arm, variant: FlowTemplate) -> str:
        """The title above a column."""
        return self.labels.get(BAR_ROWS[arm]) or variant.column_title(arm)

    def band(self, stage: Stage) -> str:
        """The title beside a stage."""
        return self.labels.get(BAND_ROWS[stage]) or stage

    def boxes(self, flow: Flow, variant: FlowTemplate) -> dict[str, list[DiagramNumber]]:
        """The boxes to draw with the values in each; none in a main box that nobody filled in."""
        boxes: dict[str, list[DiagramNumber]] = {}
        for value in flow.shown(variant):
            if value.key != "title_abstract_reasons" or self.screening_reasons:
                boxes.setdefault(value.box, []).append(value)
        if self.unreported:
            return boxes
        kept = {
            box: [value for value in values if flow[value.key].origin != "not reported"]
            for box, values in boxes.items()
        }
        return {
            box: kept[box] or ([] if BOXES[box].heading else values)
            for box, values in boxes.items()
            if kept[box] or BOXES[box].arm not in _LEFT_OUT_WHEN_EMPTY
        }


# Boxes whose heading is the label of the list in them.
_HEADED = {"box9": ("dbr_excluded",), "box15": ("other_excluded",)}
