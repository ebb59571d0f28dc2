"""A device whose memory is counted and ends: what it holds, refuses and gives back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from casestudies.lab.measure.tensors import Device, NoRoom

CAP = 1000
TYPES = [torch.float32, torch.bfloat16, torch.int8, torch.bool]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "view", "drop"]),
        st.lists(st.integers(0, 12), max_size=3),
        st.sampled_from(TYPES),
        st.integers(0, 50),
    ),
    max_size=40,
)


@given(STEPS)
def test_it_holds_the_sum_of_what_lives_and_never_more_than_its_cap(steps) -> None:
    device = Device("cpu", CAP)
    live: list[tuple[torch.Tensor, int, int]] = []  # a tensor, its piece of memory, bytes of that
    most = 0

    def held() -> int:
        return sum({piece: size for _, piece, size in live}.values())

    for piece, (step, shape, dtype, which) in enumerate(steps):
        size = torch.Size(shape).numel() * dtype.itemsize
        if step == "put" and held() + size > CAP:
            with pytest.raises(NoRoom, match=f"^{size} bytes .* {held()} of {CAP}$"):
                device.put(torch.ones(shape, dtype=dtype))
        elif step == "put":
            live.append((device.put(torch.ones(shape, dtype=dtype)), piece, size))
            assert torch.equal(live[-1][0], torch.ones(shape, dtype=dtype))
        elif step == "view" and live:
            tensor, *memory = live[which % len(live)]
            live.append((tensor.flatten()[1:], *memory))
            del tensor
        elif live:
            del live[which % len(live)]
        most = max(most, held())
        assert (device.bytes, device.peak) == (held(), most)
    live.clear()
    assert device.bytes == 0


def test_what_is_brought_back_is_the_hosts_and_leaves_room() -> None:
    device = Device("cpu", 400)
    there = device.put(torch.arange(100, dtype=torch.float32))
    back = there.clone()
    with pytest.raises(NoRoom, match="4 bytes do not fit on the device, which holds 400 of 400"):
        device.empty(torch.Size([1]), torch.float32)
    del there
    assert device.bytes == 0
    assert back.sum() == device.put(back).sum() == 4950
