"""Bytes that autograd keeps for backwards."""

import torch
from torch import nn

from casestudies.lab.measure.saved import SavedBytes


def test_what_is_kept_counts_once_until_it_is_let_go() -> None:
    x = torch.ones(100, requires_grad=True)
    saved = SavedBytes()
    with saved.counting():
        square = x * x  # both factors are one tensor
        assert saved.bytes == 400
        found = square.exp()  # keeps its result
    assert saved.bytes == 800
    found.sum().backward()
    assert (saved.bytes, saved.peak) == (0, 800)
    torch.testing.assert_close(x.grad, 2 * torch.e * torch.ones(100))


def test_weights_are_left_out_and_views_share_their_storage() -> None:
    layer, x = nn.Linear(8, 8, bias=False), torch.ones(4, 8)
    saved = SavedBytes()
    saved.leave_out(layer.parameters())
    with saved.counting():
        halves = [layer(half) for half in x.split(2)]
    assert saved.bytes == 4 * 8 * 4
    del halves
    assert saved.bytes == 0
