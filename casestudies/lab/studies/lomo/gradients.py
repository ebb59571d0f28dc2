"""Counts the gradients of weights that are there at one time, from when each is made."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from casestudies.lab.measure.tensors import Held

KEPT = "torch::autograd::AccumulateGrad"  # the node of autograd that gives a weight its gradient


class Gradients(Held):
    """Bytes and number of gradients: `bytes` now, `peak` and `most` at one time.

    A gradient counts from the operation that makes it until nothing holds it: in a weight, or on
    the way to one. A weight that two layers share has its first gradient waiting for the second.
    """

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self.most = 0
        self.arrived: list[int] = []  # bytes held, each time that a weight gets its gradient
        self._hooks = [
            hook
            for weight in weights
            for hook in (
                weight.register_hook(self._arrive),
                weight.register_post_accumulate_grad_hook(self._kept),
            )
        ]

    def watch(self, loss: Tensor) -> Tensor:
        """Return the loss; the backward pass from it is counted."""
        found, left = set(), [loss.grad_fn]
        while left:
            node = left.pop()
            if node is None or node in found:
                continue
            found.add(node)
            for place, (behind, _) in enumerate(node.next_functions):
                left.append(behind)
                if behind is not None and behind.name() == KEPT:
                    node.register_hook(self._made(place))
        return loss

    def end(self) -> None:
        """Count no more."""
        for hook in self._hooks:
            hook.remove()

    def _made(self, place: int) -> Any:
        def hook(gradients: tuple[Tensor | None, ...], _: Any) -> None:
            gradient = gradients[place]
            if gradient is not None:
                self._see(gradient)

        return hook

    def _arrive(self, gradient: Tensor) -> None:
        self._see(gradient)
        self.arrived.append(self.bytes)

    def _kept(self, weight: Tensor) -> None:
        # An optimizer within the backward pass has let it go by now.
        if weight.grad is not None:
            self._see(weight.grad)

    def _see(self, gradient: Tensor) -> None:
        storage = gradient.untyped_storage()
        # Tensors without data have no address, so the storage's own name stands for it.
        self.hold(storage._cdata, storage.nbytes(), gradient)
        self.most = max(self.most, len(self._owners))
