"""One rank of a group whose others do not exist, to see what a rank holds among many."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore  # also registers the backend


@contextmanager
def alone_among(world: int) -> Iterator[None]:
    """Make this process the first rank of a default group of so many, within the context.

    Collectives and sends return at once and carry nothing: shapes and bytes are what they would be,
    numbers are not. Raises ValueError where the process is in a group already.
    """
    dist.init_process_group("fake", rank=0, world_size=world, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()
