"""The speed table: its steps, its arithmetic, and that the pages say what the results say."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import machine, methods, peer_networks, peers, rows, throughput
from benchmarks.peak import flops
from benchmarks.tables.pages import PAGES, renewed
from ddpm_core import checkpoint
from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.data import catalogue
from ddpm_core.data.cache import Pictures
from ddpm_core.errors import StudioError, UsageError
from ddpm_core.runs import Run
from ddpm_core.training import trainer

CPU = torch.device("cpu")
SHAPE = (1, 16, 16)
EVERY_ROW = throughput.ROWS | throughput.ROWS_ON_A_CARD


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (8, *SHAPE), dtype=np.uint8)


@pytest.fixture
def coloured():
    return np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)


def test_the_pages_say_what_the_results_say():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert renewed(text) == text, f"{page.name} is stale: run python -m benchmarks.tables"


def test_a_table_without_results_says_so(tmp_path):
    page = "before\n<!-- table: throughput -->\nold\n<!-- /table -->\nafter\n"
    assert renewed(page, tmp_path) == page.replace("old", "Not measured yet.")


def test_a_table_is_written_from_its_results(tmp_path):
    about = {"batch_size": 32, "bfloat16": False, "parameters": 9_000_000, "flops": 9_000_000_000}
    turns = [{"steps": 5, "disturbed": 1, "kept": False, "images_per_second": pace} for pace in (19.0, 21.0, 20.0)]
    base = [{**turn, "images_per_second": 10.0} for turn in turns]
    row = throughput.summary(about, turns, base, {"float32": 360.0, "bfloat16": 720.0})
    assert (row["images_per_second"], row["ratio"], row["ratio_range"]) == (20.0, 2.0, [1.9, 2.1])
    assert (row["gflops"], row["share_of_peak"]) == (180.0, 0.5)
    assert (row["steps"], row["disturbed_steps"], row["disturbed_steps_kept"]) == (15, 3, 0)

    result = {
        **machine.describe("python -m benchmarks.throughput", CPU),
        "pictures": "OpenMoji, 32 px", "rounds": 3, "seconds": 3.0, "titles": {"full": "ours"},
        "peak_gflops": {"float32": 360, "bfloat16": 720}, "rows": {"full": row}, "left_out": {},
    }  # fmt: skip
    (tmp_path / "throughput_32.json").write_text(json.dumps(result))
    page = renewed("<!-- table: throughput -->\n<!-- /table -->", tmp_path)
    assert "| ours (batch 32) | 9.00 M | 9.00 | 20.0 | **2.00x** | 1.90 to 2.10 | 180 | 50 % of float32 |" in page
    assert "against the best tuned" not in page and "Blank" not in page  # no peer was tuned: no column of blanks
    assert "beside 3 of 15 steps; they do not count" in page
    assert renewed(page, tmp_path) == page


def test_ours_trains_as_the_trainer_does(images, tmp_path, monkeypatch):
    """To the same bits: every figure of ours stands for what a run does."""
    config = RunConfig(
        "toy", 16, network=NetworkConfig(16, (1, 2), attention=()), batch_size=4, device="cpu", max_steps=3
    )
    monkeypatch.setattr(catalogue, "load", lambda *args, **how: Pictures(images, None, (), ()))
    run = Run(tmp_path, "toy")
    trainer.train(run, config, data_dir=tmp_path)
    ours = methods.Ours("ours", config, images, CPU)
    for _ in range(3):
        ours.step(0.0)
    theirs = checkpoint.load_state(run.state_path)
    assert theirs["step"] == ours.state.step == 3
    for name, mine in (("weights", ours.state.network), ("ema", ours.state.ema.network)):
        assert all(torch.equal(weight, theirs[name][key]) for key, weight in mine.state_dict().items())


def test_our_row_takes_its_turn(images):
    config = RunConfig("toy", 16, network=NetworkConfig(16, (1, 2), attention=()), batch_size=4, device="cpu")
    ours = methods.Ours("ours", config, images, CPU)
    before = [weight.clone() for weight in ours.state.ema.network.parameters()]
    turn = rows.take_turn(lambda: ours.step(0.0), 0.1, 4, CPU)
    assert turn.steps >= 1 and turn.images_per_second > 0 and ours.state.step == turn.steps + 1
    assert any(not torch.equal(*pair) for pair in zip(before, ours.state.ema.network.parameters(), strict=True))
    assert flops(ours.network, 1, 16) > 0


@pytest.mark.parametrize("key", [key for key, row in EVERY_ROW.items() if row.method not in peers.PEERS])
def test_each_row_of_ours_begins_and_steps(key, coloured):
    if key == "their_network":
        pytest.importorskip("diffusers", reason="the peers come with requirements-bench.txt")
    row = replace(EVERY_ROW[key], settings={**EVERY_ROW[key].settings, "batch_size": 2})
    method = rows.begin(row, coloured, CPU)
    assert method.batch_size == 2 and method.config.amp == row.amp and method.step(0.0).isfinite()
    assert method.parameters == sum(weight.numel() for weight in method.network.parameters())
    assert flops(method.network, 3, 32) > 1e8


def test_a_peers_process_starts_without_our_settings(monkeypatch):
    for name in ("GOMP_SPINCOUNT", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.setenv(name, "ours")
    for row, theirs in ((EVERY_ROW["lucidrains"], True), (EVERY_ROW["cpu"], False), (None, False)):
        with rows.as_installed(row):
            assert [name not in os.environ for name in ("GOMP_SPINCOUNT", "CUBLAS_WORKSPACE_CONFIG")] == [theirs] * 2
        assert os.environ["GOMP_SPINCOUNT"] == os.environ["CUBLAS_WORKSPACE_CONFIG"] == "ours"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "key",
    ["diffusers", "diffusers_tuned", "lucidrains", "lucidrains_tuned", "ours_their_recipe"],
)
def test_a_peer_learns_and_draws(key, images):
    pytest.importorskip("diffusers", reason="the peers come with requirements-bench.txt")
    if key.startswith("lucidrains"):
        pytest.importorskip("denoising_diffusion_pytorch", reason="the peers come with requirements-bench.txt")
    peer = peers.make(key, SHAPE)
    before = [weight.clone() for weight in peer.network.parameters()]
    losses = [peer.step(torch.tensor(images[:2])) for _ in range(2)]
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses)
    # (The first step's rate is zero, and our network starts at zero: not every weight has moved yet.)
    assert any(not torch.equal(*pair) for pair in zip(before, peer.network.parameters(), strict=True))
    drawn = peer.sample(2, steps=2, seed=1)
    assert drawn.shape == (2, 16, 16, 1) and drawn.dtype == torch.uint8
    assert torch.equal(drawn, peer.sample(2, steps=2, seed=1))
    assert flops(peer.network, 1, 16) > 1e8


@pytest.mark.parametrize("key", ["diffusers_tuned", "lucidrains_tuned"])
@pytest.mark.filterwarnings("ignore")
def test_a_tuned_peers_rate_and_warm_up(key, images):
    pytest.importorskip("diffusers", reason="the peers come with requirements-bench.txt")
    pytest.importorskip("denoising_diffusion_pytorch", reason="the peers come with requirements-bench.txt")
    peer = peers.make(f"{key}@0.002", SHAPE, total_steps=20)
    assert peer.name.endswith("tuned, rate 0.002")
    rates = []
    for _ in range(3):
        peer.step(torch.tensor(images[:2]))
        rates.append(peer.optimizer.param_groups[0]["lr"])
    # The warm-up is a tenth of the run, two steps here. (diffusers' scheduler sets the rate of the step to come.)
    assert max(rates) == pytest.approx(0.002, rel=0.02) and rates[0] == pytest.approx(0.001)
    peer.total_steps = 4  # the clock knows better now
    peer.step(torch.tensor(images[:2]))
    assert peer.optimizer.param_groups[0]["lr"] == pytest.approx(0)
    as_it_is = peers.make(f"{key}", SHAPE).network_parameters
    peer = peers.make(f"{key}@0.002x16w32", SHAPE)
    assert peer.batch_size == 16 and peer.name.endswith("tuned, rate 0.002, batch 16, width 32")
    assert 0.2 < peer.network_parameters / as_it_is < 0.3
    assert peer.step(torch.tensor(images[:2])).isfinite()


@pytest.mark.parametrize(
    "key",
    ["diffusers_tuned@", "diffusers_tuned@fast", "lucidrains_tuned@0", "lucidrains_tuned@-1", "lucidrains_tuned@0.001x",
     "lucidrains_tuned@0.001x0", "lucidrains_tuned@0.001x1.5", "lucidrains_tuned@0.001w4", "lucidrains_tuned@0.001w32x16",
     "lucidrains_tuned@x16"],
)  # fmt: skip
def test_a_rate_a_batch_or_a_width_that_is_none_is_refused(key):
    with pytest.raises(
        UsageError, match="a learning rate between 0 and 1 must follow the @; if you like, an x with a batch"
    ):
        peers.make(key, SHAPE)


@pytest.mark.filterwarnings("ignore")
def test_a_tuned_peer_is_drawn_with_beliefs_clipped():
    pytest.importorskip("diffusers", reason="the peers come with requirements-bench.txt")
    walk = peers._fast_sampler({"num_train_timesteps": 1000, "prediction_type": "sample"})
    walk.set_timesteps(5)
    beliefs = torch.tensor([-3.0, -0.5, 0.25, 7.0]).view(1, 1, 2, 2)
    assert torch.equal(walk.convert_model_output(beliefs, sample=beliefs), beliefs.clamp(-1, 1))


@pytest.mark.filterwarnings("ignore")
def test_diffusers_network_learns_with_our_recipe(images):
    pytest.importorskip("diffusers", reason="the peers come with requirements-bench.txt")
    config = RunConfig("toy", 16, batch_size=2, device="cpu")
    ours = methods.Ours(
        "control", config, images, CPU, lambda: peer_networks.Levelled(peer_networks.diffusers_network(1, 16))
    )
    assert ours.state.network is ours.network and isinstance(ours.network, peer_networks.Levelled)
    before = [weight.clone() for weight in ours.network.parameters()]
    assert ours.step(0.0).isfinite()
    assert any(not torch.equal(*pair) for pair in zip(before, ours.network.parameters(), strict=True))


@pytest.fixture
def pictures(coloured, tmp_path):
    np.save(tmp_path / "pictures.npy", coloured)
    return tmp_path / "pictures.npy"


def test_a_row_lives_in_a_process_of_its_own(pictures):
    child = rows.Child("toy", rows.Row("toy", False, "ours-cpu", {"batch_size": 2}), pictures, "cpu")
    child.wait(120)
    assert child.about["batch_size"] == 2 and child.about["parameters"] > 1e6 and not child.about["bfloat16"]
    assert child.turn(0.1, 60)["images_per_second"] > 0
    child.end()
    assert child.process.exitcode == 0


def test_a_row_that_cannot_begin_says_why(pictures):
    child = rows.Child("toy", rows.Row("toy", False, "nothing"), pictures, "cpu")
    with pytest.raises(StudioError, match="^row toy: there is no method 'nothing': choose from ours-cpu, "):
        child.wait(120)
    assert child.process.exitcode == 0


def test_a_level_of_our_table_is_its_own_time_step():
    class Told(torch.nn.Module):
        def forward(self, x, t):
            return type("Answer", (), {"sample": t.float()})

    levelled = peer_networks.Levelled(Told())
    assert torch.equal(levelled(None, levelled.log_sigmas), torch.arange(1000.0))


def test_the_watch_tells_others_work_from_our_own():
    assert machine.Load(wall=1.0, others=0.2).disturbed
    assert not machine.Load(wall=1.0, others=0.05).disturbed
    load = machine.Watch().lap()
    assert load.wall >= 0 and load.others >= 0


def test_a_figure_knows_which_peers_it_stands_beside():
    diffusers = pytest.importorskip("diffusers")
    assert machine.describe("command", CPU)["packages"]["diffusers"] == diffusers.__version__


def test_unknown_names_are_one_line_with_a_fix():
    with pytest.raises(UsageError, match="diffusers_tuned"):
        throughput.chosen("nothing")
    with pytest.raises(UsageError, match="lucidrains"):
        peers.make("nothing", SHAPE)
    assert throughput.chosen("full,diffusers") == ["diffusers", "full"]
