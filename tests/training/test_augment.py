"""Changed pictures and their labels: they belong together, the network hears them, and nothing else notices."""

import dataclasses
import json
import math

import pytest
import torch

from ddpm_core import checkpoint, seeds
from ddpm_core.config import AUGMENT_LABELS, NetworkConfig, RunConfig, preset
from ddpm_core.data.batches import Batches
from ddpm_core.diffusion import objective
from ddpm_core.errors import UsageError
from ddpm_core.generator import Generator
from ddpm_core.network.unet import UNet
from ddpm_core.runs import Run
from ddpm_core.training import augment, flags, trainer
from ddpm_core.training.control import Control
from ddpm_core.training.loss import DiffusionLoss
from ddpm_core.training.state import TrainingState

CPU = torch.device("cpu")
MIRROR, COS, SIN, SCALE, RIGHT, DOWN = range(AUGMENT_LABELS)


def draw(seed: int = 0) -> torch.Generator:
    return seeds.generator(CPU, 0, "augment", seed)


def noise(count: int = 400, side: int = 32, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 3, side, side, generator=generator) - 1


def only(labels: torch.Tensor, *kinds: int) -> torch.Tensor:
    """Which pictures had all of `kinds` done to them and nothing else: bool (B,)."""
    wanted = torch.tensor([kind in kinds for kind in range(AUGMENT_LABELS)])
    return ((labels != 0) == wanted).all(dim=1)


# ---- pictures and labels


def test_without_a_chance_nothing_is_done():
    x0 = noise()
    changed, labels = augment.change(x0, 0.0, draw())
    assert torch.equal(changed, x0) and not labels.any()
    assert labels.shape == (400, AUGMENT_LABELS) and labels.dtype == torch.float32


@pytest.mark.parametrize("side", [16, 24, 32])
def test_labels_are_zero_exactly_where_the_picture_is_the_same(side):
    x0 = noise(side=side)
    changed, labels = augment.change(x0, 0.12, draw())
    same = (changed == x0).all(dim=(1, 2, 3))
    assert torch.equal(same, ~labels.any(dim=1))
    assert same.float().mean().item() == pytest.approx(0.88**5, abs=0.08)
    assert changed.abs().max() <= 1 + 1e-6 and changed.isfinite().all()


def test_each_change_comes_with_its_chance_and_size():
    _, labels = augment.change(torch.zeros(20_000, 1, 32, 32), 0.3, draw())
    shares = (labels != 0).float().mean(dim=0)
    assert shares[[MIRROR, SCALE]].tolist() == pytest.approx([0.3, 0.3], abs=0.02)
    assert shares[COS].item() == pytest.approx(0.51, abs=0.02)  # turned, rotated or both
    assert 0.25 < shares[RIGHT] < 0.3  # some shifts are of no pixel
    for normal in (SCALE, RIGHT, DOWN):
        values = labels[labels[:, normal] != 0, normal]
        assert abs(values.mean()) < 0.06 and values.std().item() == pytest.approx(1, abs=0.08)
    assert torch.allclose((labels[:, COS] + 1) ** 2 + labels[:, SIN] ** 2, torch.ones(20_000), atol=1e-5)


def test_a_mirrored_picture_is_the_mirrored_picture():
    x0 = noise()
    changed, labels = augment.change(x0, 0.2, draw())
    chosen = only(labels, MIRROR)
    assert chosen.sum() > 10 and torch.equal(changed[chosen], x0[chosen].flip(-1))
    assert (labels[:, MIRROR] * (labels[:, MIRROR] - 1) == 0).all()


def test_quarter_turns_are_clockwise_and_exact():
    x0 = noise(1000)
    changed, labels = augment.change(x0, 0.2, draw())
    alone = (labels[:, [MIRROR, SCALE, RIGHT, DOWN]] == 0).all(dim=1)
    for cos, sin, times in ((0, 1, -1), (-1, 0, 2), (0, -1, 1)):
        chosen = alone & (labels[:, COS] + 1 == cos) & (labels[:, SIN] == sin)
        assert chosen.sum() > 10 and torch.equal(changed[chosen], x0[chosen].rot90(times, (2, 3)))


def test_a_shift_moves_a_dot_by_the_labelled_amount():
    x0 = torch.ones(2000, 1, 32, 32)  # a black dot on white
    x0[:, 0, 12, 18] = -1
    changed, labels = augment.change(x0, 0.2, draw())
    chosen = only(labels, RIGHT, DOWN) | only(labels, RIGHT) | only(labels, DOWN)
    x, y = 18 + labels[:, RIGHT] * 4, 12 + labels[:, DOWN] * 4  # eighths of 32
    chosen &= (x >= 0) & (x <= 31) & (y >= 0) & (y <= 31)
    assert chosen.sum() > 100
    for picture, right, down in zip(changed[chosen, 0], x[chosen], y[chosen], strict=True):
        assert (picture < 0)[
            int(down), int(right)
        ] and picture.sum() >= 32 * 32 - 4  # (a mirrored dot may have come in)


def test_any_change_moves_a_spot_to_where_its_labels_say():
    """All kinds at once. A soft spot's centre of mass follows them even between pixels."""
    side, place = 64, torch.arange(64.0)
    centre = torch.tensor([36.0, 29.5])
    spot = torch.exp(-((place - centre[0]) ** 2 + (place[:, None] - centre[1]) ** 2) / 18)
    changed, labels = augment.change((1 - 2 * spot).expand(3000, 1, side, side).contiguous(), 0.6, draw())
    mass = (1 - changed[:, 0]) / 2
    found = torch.stack([(mass * place).sum(dim=(1, 2)), (mass * place[:, None]).sum(dim=(1, 2))], dim=1)
    found /= mass.sum(dim=(1, 2))[:, None]

    x, y = centre - 31.5
    x = torch.where(labels[:, MIRROR] > 0, -x, x)
    cos, sin, factor = labels[:, COS] + 1, labels[:, SIN], 2 ** (augment.SCALE * labels[:, SCALE])
    expected = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=1) * factor[:, None]
    expected = expected + 31.5 + labels[:, RIGHT:] * side * augment.SHIFT
    inside = ((expected > 14) & (expected < 49)).all(dim=1) & (factor < 1.3) & (factor > 0.9)
    inside &= (labels[:, RIGHT:].abs() < 2).all(dim=1)  # further, and the mirror image beyond an edge comes in
    assert inside.sum() > 1000
    assert (found - expected)[inside].abs().max() < 0.1


def test_a_white_background_stays_white():
    x0 = torch.ones(200, 3, 32, 32)
    changed, labels = augment.change(x0, 0.6, draw())
    assert labels.any(dim=1).sum() > 150 and torch.allclose(changed, x0, atol=1e-5)


def test_the_same_counters_give_the_same():
    x0 = noise(32)
    one, other, next_step = (augment.change(x0, 0.3, draw(step)) for step in (7, 7, 8))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert not torch.equal(one[1], next_step[1])


# ---- the network


def test_the_other_weights_begin_alike_with_labels_and_without():
    def begun(**settings):
        torch.manual_seed(3)
        return UNet(NetworkConfig(width=16, multipliers=(1, 2), **settings), 3).state_dict()

    without, with_labels = begun(), begun(labels=AUGMENT_LABELS)
    assert set(with_labels) - set(without) == {"labels.weight"}
    assert not with_labels.pop("labels.weight").any()
    assert with_labels.keys() == without.keys()
    assert all(torch.equal(with_labels[name], without[name]) for name in without)


def test_no_labels_are_as_good_as_zeros():
    torch.manual_seed(0)
    network = UNet(NetworkConfig(width=16, multipliers=(1, 2), labels=AUGMENT_LABELS), 3)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    x, level = torch.randn(4, 3, 16, 16), torch.randn(4)
    assert torch.equal(network(x, level), network(x, level, torch.zeros(4, AUGMENT_LABELS)))
    assert not torch.equal(network(x, level), network(x, level, torch.ones(4, AUGMENT_LABELS)))


def test_a_network_listens_to_its_labels():
    """One picture under much noise: what it was, the network can know from its labels alone; with none it draws the original."""
    torch.manual_seed(0)
    network = UNet(NetworkConfig(width=32, multipliers=(1, 2), attention=(), labels=AUGMENT_LABELS), 1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    picture = torch.ones(16, 1, 16, 16)
    picture[:, :, 2:14, 2:6] = -1  # a black bar at the left
    alpha, sigma = torch.full((16,), 0.1), torch.full((16,), 0.99**0.5)

    def noisy(x0):
        eps = torch.randn(x0.shape)
        return objective.add_noise(x0, eps, alpha, sigma), eps

    for step in range(100):
        x0, labels = augment.change(picture, 0.3, draw(step))
        x_t, eps = noisy(x0)
        output = objective.ask(network, "v", x_t, alpha, sigma, labels)
        (output - objective.v_target(x0, eps, alpha, sigma)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    mirror = torch.zeros(16, AUGMENT_LABELS)
    mirror[:, MIRROR] = 1
    for x0, labels in ((picture, None), (picture.flip(-1), mirror)):
        with torch.no_grad():
            x_t, _ = noisy(x0)
            belief = objective.v_to_x0(x_t, objective.ask(network, "v", x_t, alpha, sigma, labels), alpha, sigma)
        bar, other = (x0 < 0), (x0.flip(-1) < 0)
        assert belief[bar].mean() < belief[other].mean() - 0.5


# ---- the loss and the run


def test_a_run_without_augmentation_notices_nothing(tiny, eight_pictures, monkeypatch):
    images = eight_pictures.transpose(0, 3, 1, 2).copy()
    shown = []

    def network(x, log_sigma, *labels):
        shown.append((x, log_sigma, labels))
        return x

    def losses(**settings):
        config = tiny(amp=False, **settings)
        loss = DiffusionLoss(config, Batches(images, 4, 0, CPU), CPU)
        return [loss(network, step).item() for step in range(3)]

    monkeypatch.setattr(augment, "change", lambda x0, chance, draw: (x0, torch.zeros(len(x0), AUGMENT_LABELS)))
    with_it = losses(augment=0.12)  # its own draws disturb neither noise nor levels
    monkeypatch.setattr(augment, "change", None)
    assert losses() == with_it
    assert [len(labels) for _, _, labels in shown] == [1, 1, 1, 0, 0, 0]
    assert all(
        torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
        for one, other in zip(shown[:3], shown[3:], strict=True)
    )


def test_the_network_is_told_what_was_done(tiny, eight_pictures):
    config = tiny(augment=0.5)
    batches = Batches(eight_pictures.transpose(0, 3, 1, 2).copy(), 4, 0, CPU)
    told = []
    DiffusionLoss(config, batches, CPU)(lambda x, log_sigma, labels: told.append(labels) or x, 5)
    _, labels = augment.change(batches.batch(5), 0.5, draw(5))
    assert torch.equal(told[0], labels) and labels.any()


@pytest.fixture
def go(tmp_path):
    def go(config, **options):
        run = Run(tmp_path / "out", config.name)
        return run, trainer.train(run, config, data_dir=tmp_path / "data", **options)

    return go


def test_a_stopped_and_resumed_run_reaches_the_same_bits(go, tiny):
    whole, _ = go(tiny(name="whole", augment=0.3))
    control = Control()
    halves, status = go(
        tiny(name="halves", augment=0.3), control=control,
        report=lambda status: control.stop() if status.state == "running" and status.step >= 5 else None,
    )  # fmt: skip
    assert status.state == "stopped" and status.step < 12
    go(halves.config(), resume=True)
    one, other = checkpoint.load_state(whole.state_path), checkpoint.load_state(halves.state_path)
    assert one["weights"]["labels.weight"].any()
    for kind in ("weights", "ema"):
        assert all(torch.equal(weight, other[kind][name]) for name, weight in one[kind].items())


def test_its_model_makes_pictures(go, tiny):
    run, _ = go(tiny(augment=0.3))
    generator = Generator.load(run.final_path, "cpu")
    assert generator.model.config.network.labels == AUGMENT_LABELS and generator.model.config.augment == 0.3
    *_, last = generator.sample(range(2), steps=2)
    assert last.pictures.shape == (2, 16, 16, 3)


def test_a_run_with_labels_can_start_from_a_model_without_and_the_reverse(go, tiny, eight_pictures):
    images = eight_pictures.transpose(0, 3, 1, 2).copy()
    x, level = torch.randn(2, 3, 16, 16), torch.randn(2)
    for before, after in ((0.0, 0.3), (0.3, 0.0), (0.3, 0.3)):
        run, _ = go(tiny(name=f"from-{before}-to-{after}", augment=before))
        state = TrainingState(tiny(augment=after), images, CPU)
        state.start_from(checkpoint.load_model(run.final_path), str(run.final_path))
        old = Generator.load(run.final_path, "cpu").network
        for network in (state.network, *(average.network for average in state.averages)):
            torch.testing.assert_close(network.eval()(x, level), old(x, level))
        assert ("labels.weight" in state.network.state_dict()) == (after > 0)


# ---- settings


def test_the_setting_gives_the_network_its_labels():
    plain, with_it = preset(), preset(augment=0.12)
    assert (plain.augment, plain.network.labels) == (0.0, 0)
    assert (with_it.augment, with_it.network.labels) == (0.12, AUGMENT_LABELS)
    assert dataclasses.replace(with_it.network, labels=0) == plain.network
    assert RunConfig.from_json(with_it.to_json()) == with_it


def test_settings_from_before_are_without_it():
    values = json.loads(RunConfig().to_json())
    del values["augment"], values["network"]["labels"]
    assert RunConfig.from_json(json.dumps(values)) == RunConfig()


@pytest.mark.parametrize("bad", [-0.1, 0.51, 1, math.nan, "0.12", True, None])
def test_a_chance_that_cannot_be(bad):
    with pytest.raises(UsageError, match=r"^augment is .*from 0 to 0\.5\.$"):
        RunConfig(augment=bad)


def test_the_command_line_has_it():
    given = flags.parser("openmoji", 32).given
    assert given(["--augment", "0.12"]) == {"augment": 0.12} and given([]) == {}
    assert "augment" not in flags.NO_SETTINGS
    with pytest.raises(UsageError, match=r"^--augment: '1' is not a number from 0 to 0\.5\.$"):
        given(["--augment", "1"])


@pytest.mark.parametrize("bad", [-1, 3, 7, "6", True, None])
def test_labels_that_cannot_be(bad):
    with pytest.raises(UsageError, match=r"^network\.labels is [^\n]*$"):
        NetworkConfig(labels=bad)


def test_asking_with_labels_hands_them_to_the_network():
    seen = []
    x, half = torch.zeros(2, 1, 4, 4), torch.full((2,), 0.5**0.5)
    for labels in (None, torch.ones(2, AUGMENT_LABELS)):
        objective.ask(lambda x, *others: seen.append(others) or x, "v", x, half, half, labels)
    assert [len(others) for others in seen] == [1, 2] and seen[1][1].all()
