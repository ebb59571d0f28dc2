"""The taxonomy as an icicle chart, whose areas are links from publications to strategies."""

from collections.abc import Iterator
from functools import lru_cache
from html import escape
from textwrap import wrap

import pandas as pd

from reviewapp.ui.charts import Chart
from taxonomy.explorer.tree import Node

NOTE = (
    "An area is a number of evidence links: a publication filed under two strategies is in both, "
    "so the areas add up to links, not to publications. "
)


@lru_cache(maxsize=64)
def icicle(root: Node, branch: Node, selected: str, address: str) -> Chart:
    """Return the chart, zoomed to `branch`, with the node called `selected` marked.

    A click on an area goes to `address` followed by the key of its node. Nodes are the same
    objects for as long as the tree is remembered, and so are their charts.
    """
    nodes = [(node, parent) for node, parent in _with_parents(root) if node.links]
    areas = {
        "type": "icicle",
        "ids": [node.key for node, _ in nodes],
        "labels": [_label(node, selected) for node, _ in nodes],
        "parents": [parent for _, parent in nodes],
        "values": [node.links for node, _ in nodes],
        "branchvalues": "total",
        "customdata": [f"{address}{node.key}" for node, _ in nodes],
        "hovertext": [f"{node.links} links, {node.publications} publications" for node, _ in nodes],
        "hovertemplate": "%{label}<br>%{hovertext}<extra></extra>",
        "level": branch.key if branch.links else root.key,
        "sort": False,
        "leaf": {"opacity": 1},
        "maxdepth": 4,
        "pathbar": {"thickness": 24},
    }
    layout = {
        "height": 430,
        "uniformtext": {"minsize": 10, "mode": "hide"},
        "margin": {"l": 8, "r": 8, "t": 8 if branch == root else 32, "b": 8},
    }
    rows = [(node.level, node.name, node.links, node.publications) for node, _ in nodes]
    table = pd.DataFrame(rows, columns=["Level", "Name", "Evidence links", "Publications"])
    return Chart(
        slug="icicle",
        title="Where the evidence lies",
        kind="figure",
        table=table,
        figure={"data": [areas], "layout": layout},
        note=NOTE + _unseen(root),
    )


def _label(node: Node, selected: str) -> str:
    """Return the name; that of an inner node in short lines, as its area is tall and narrow."""
    lines = wrap(escape(node.name), 16) if node.children else [escape(node.name)]
    return "<br>".join(lines) + " (selected)" * (node.key == selected)


def _with_parents(node: Node, parent: str = "") -> Iterator[tuple[Node, str]]:
    yield node, parent
    for child in node.children:
        yield from _with_parents(child, node.key)


def _unseen(root: Node) -> str:
    """Return a sentence that names the strategies with no area; empty when there are none."""
    names = {node.name for node in root.walk() if node.level == "strategy" and not node.links}
    return (
        f"No area, as no publication is filed there: {', '.join(sorted(names))}." if names else ""
    )
