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


@pytest.mark.parametrize(
    ("capability", "kind"),
    [
        ((6, 1), None),  # GTX 10
        ((7, 0), torch.float16),  # V100
        ((7, 5), torch.float16),  # RTX 20, GTX 16
        ((8, 0), torch.bfloat16),  # A100
        ((8, 6), torch.bfloat16),  # RTX 30
        ((9, 0), torch.bfloat16),  # H100
    ],
)
def test_cards_compute_in_what_they_are_good_at(monkeypatch, capability, kind):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: capability >= (8, 0))
    card = torch.device("cuda")
    assert devices.half(card, True) is kind and devices.half(card, False) is None


def test_other_devices_never_compute_in_float16():
    assert devices.half(torch.device("mps"), True) is None
    assert devices.half(torch.device("cpu"), True) in (torch.bfloat16, None)


def test_a_processor_is_never_compiled_for():
    assert not devices.compile_pays(torch.device("cpu"))


def test_usage_tells_how_full_and_how_busy_the_processor_is():
    told = devices.usage(torch.device("cpu"))
    assert 0 < told["memory"] < told["memory_total"] and 0 <= told["busy"] <= 1


def test_usage_of_a_card_that_does_not_tell_how_busy_it_is(monkeypatch):
    def silent(device):
        raise ModuleNotFoundError("pynvml")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3, 8))
    monkeypatch.setattr(torch.cuda, "utilization", silent)
    assert devices.usage(torch.device("cuda")) == {"memory": 5, "memory_total": 8, "busy": None}
