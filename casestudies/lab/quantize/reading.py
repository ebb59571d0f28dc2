"""Let linear layers read something else than their inputs, such as these inputs rounded."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

# What a linear layer reads in place of its inputs X (..., columns).
Reading = Callable[[nn.Linear, Tensor], Tensor]


@contextmanager
def reading(linears: Iterable[nn.Linear], read: Reading) -> Iterator[None]:
    """Let the layers read what `read` makes of their inputs, until the context is left."""
    with ExitStack() as stack:
        for linear in linears:
            handle = linear.register_forward_pre_hook(lambda layer, given: (read(layer, given[0]),))
            stack.callback(handle.remove)
        yield
