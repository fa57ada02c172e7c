"""What the machine can do; whatever it is, the answers fit together."""

import pytest
import torch

from ddpm_core import devices
from ddpm_core.errors import UsageError


def test_auto_finds_a_device_that_works():
    device = devices.choose("auto")
    assert torch.ones(2, device=device).sum().item() == 2
    assert devices.describe(device)


def test_the_processor_is_always_there():
    assert devices.choose("cpu") == torch.device("cpu")
    assert "core" in devices.describe(torch.device("cpu"))


@pytest.mark.parametrize("name", ["cuda:99", "toaster", "cuda:x", ""])
def test_what_is_not_there_is_one_line_with_a_fix(name):
    with pytest.raises(UsageError, match="auto"):
        devices.choose(name)


def test_amp_off_leaves_float32():
    with devices.autocast(torch.device("cpu"), amp=False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_amp_on_computes_in_bfloat16_where_it_pays():
    device = torch.device("cpu")
    with devices.autocast(device, amp=True):
        result = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    assert result == (torch.bfloat16 if devices.bfloat16_pays(device) else torch.float32)


def test_a_processor_is_never_compiled_for():
    assert not devices.compile_pays(torch.device("cpu"))
