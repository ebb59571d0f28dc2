"""A tree of what is held of texts that were read, so that it is not read again.

SGLang's RadixAttention (Zheng et al., 2023), with an edge for each block of tokens instead of edges
of any length: with blocks of one token they find the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from casestudies.lab.models.paged import Blocks

Tokens = tuple[int, ...]


@dataclass(eq=False)
class Node:
    """A block of tokens after those of its ancestors, and where their keys and values are."""

    tokens: Tokens
    block: int
    siblings: "dict[Tokens, Node]"
    children: "dict[Tokens, Node]" = field(default_factory=dict)


class PrefixTree:
    """Holds blocks of texts by their tokens, and gives back those that were not asked for longest.

    It is one of the users of each of its blocks. Only full blocks are in it.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._roots: dict[Tokens, Node] = {}
        # Those asked for last are last, and each after all of its descendants.
        self._nodes: dict[Node, None] = {}
        self.evicted = 0

    @property
    def idle(self) -> int:
        """Return how many blocks nobody else uses. All of these can be evicted."""
        return sum(self._blocks.users(node.block) == 1 for node in self._nodes)

    def known(self, tokens: Sequence[int]) -> int:
        """Return how many tokens of the beginning it holds, without asking for them."""
        return len(self._path(tokens)) * self._blocks.size

    def match(self, tokens: Sequence[int]) -> list[int]:
        """Return the blocks of the longest beginning that it holds."""
        path = self._path(tokens)
        self._asked_for(path)
        return [node.block for node in path]

    def insert(self, tokens: Sequence[int], table: list[int]) -> None:
        """Hold the full blocks of a text, which the table names, from now on.

        What it holds already it keeps where it is: the table names the tree's block then, and its
        own is given back.
        """
        path, children = list[Node](), self._roots
        for place, part in enumerate(self._parts(tokens)):
            if part not in children:
                children[part] = Node(part, table[place], children)
                self._blocks.share(table[place])
            node = children[part]
            if node.block != table[place]:
                self._blocks.share(node.block)
                self._blocks.give_back(table[place])
                table[place] = node.block
            path.append(node)
            children = node.children
        self._asked_for(path)

    def evict(self, count: int) -> bool:
        """Give back so many leaves that nobody else uses, longest not asked for first.

        Gives back none and returns False if there are fewer.
        """
        if count > self.idle:
            return False
        for _ in range(count):
            self._evict_one()
        return True

    def _evict_one(self) -> None:
        # Whoever uses a block uses those before it, so what nobody uses has no descendant in use;
        # and its idle descendants stand before it. So the first has none.
        leaf = next(node for node in self._nodes if self._blocks.users(node.block) == 1)
        del self._nodes[leaf], leaf.siblings[leaf.tokens]
        self._blocks.give_back(leaf.block)
        self.evicted += 1

    def _parts(self, tokens: Sequence[int]) -> list[Tokens]:
        size = self._blocks.size
        return [tuple(tokens[at : at + size]) for at in range(0, len(tokens) - size + 1, size)]

    def _path(self, tokens: Sequence[int]) -> list[Node]:
        path, children = list[Node](), self._roots
        for part in self._parts(tokens):
            if part not in children:
                break
            path.append(children[part])
            children = path[-1].children
        return path

    def _asked_for(self, path: Sequence[Node]) -> None:
        for node in reversed(path):
            self._nodes.pop(node, None)
            self._nodes[node] = None
