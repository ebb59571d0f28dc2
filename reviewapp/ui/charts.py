"""Charts: a Plotly figure made from a table, shown with that table and its export."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import plotly.graph_objects as go


@dataclass(frozen=True)
class Chart:
    """A figure, the table it was drawn from, and what a reader must know to read it."""

    slug: str
    title: str
    figure: go.Figure | dict[str, Any]  # plain where building a Figure would take too long
    table: pd.DataFrame
    note: str = ""

    @cached_property
    def data(self) -> dict[str, Any]:
        """Return the figure as plain JSON values; charts.js adds the theme's colours."""
        if isinstance(self.figure, dict):
            return self.figure
        parsed: dict[str, Any] = json.loads(self.figure.to_json())
        parsed["layout"].pop("template", None)
        return parsed

    @property
    def figure_id(self) -> str:
        return f"{self.slug}-figure"

    @property
    def header(self) -> list[str]:
        return [str(column) for column in self.table.columns]

    @cached_property
    def rows(self) -> list[list[Any]]:
        values: list[list[Any]] = self.table.astype(object).values.tolist()
        return values
