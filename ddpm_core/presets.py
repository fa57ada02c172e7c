"""The presets as one table: which network, batch and learning rate each picture size gets, and what that costs. Data only.

`standard` follows the model sizes of the guide (about 35, 145, 380 and 890 MB as float32). `cpu` learns on two processor cores.
Up to 128 px its channels double where the side halves, from 16 to 128, so that each level is the same work, and 8 x 8 places (12 x 12
at 96 px) look at each other; from 64 px on behind patches of 2. (Measured on two cores without bfloat16, distances after eight
minutes: at 32 px 68, 69, 74 on Fashion-MNIST, and 79, 90, 99 of patches of 2 and two levels of 64 and 128 channels, but 103, 80, 107
and 97, 97, 98 on OpenMoji; at 64 px on OpenMoji 228, 218, and 308 of patches of 4 and those two levels; with bfloat16 at 32 px 46, 37,
44 and 59, 66, 72 on Fashion-MNIST; all of it while noise levels counted alike; more in benchmarks/README.md. At 256 px it still has
wide levels behind patches of 8: not measured yet.) `small` is the standard network with about a third of its weights, for cards of 4
to 6 GB and patient processors; `large` has 2 to 2.6 times as many, for cards of 24 GB. Their rates follow from the standard one's: the
wider, the lower. (Not tried yet.)

From 64 px on `standard` and `large` have widths that are multiples of 64, and few blocks: a card's matrix units take 64 or 128
channels at once. (Measured on an H200, convolutions of 64 maps of 32 x 32, bfloat16, forward and backward: 205 TFLOP/s with 144
channels, 501 with 192. A whole recorded step at 64 px, 36 million weights: 15 ms with one block of 192, 384 and 576 channels a
level, 23 ms with two of 144, 288 and 432.)

`classic` has the 2020 paper's recipe, and its widths, levels and attention where its maps are 16 x 16, from its CIFAR-10 (32 px)
and LSUN (256 px) models; the sizes between are ours. Full resolution everywhere: a reference, not a fast one. The blocks are ours
(network/unet.py), with a third fewer weights than the paper's: one block less a level on the way up and one in the middle, joins
of 1 x 1, scale and shift by ln sigma. Its CIFAR-10 models also saw pictures mirrored (--flip), in float32 (--no-amp), all of
them (--held-out 0), over 800,000 steps.
"""

from typing import Any, NamedTuple

PRESETS = ("cpu", "small", "standard", "large", "classic")


class Row(NamedTuple):
    # The network, as in config.NetworkConfig.
    width: int
    multipliers: tuple[int, ...]
    blocks: int
    patch: int
    attention: tuple[int, ...]
    dropout: float
    # The recipe.
    batch_size: int
    lr: float
    # What it costs, for pictures in colour; tests/test_presets.py counts again.
    weights: float  # million
    gflop: float  # of one picture's way forward; a multiplication and an addition are two operations
    mixed: float  # MB kept of each picture for the backward pass on a card, in mixed precision
    full: float  # the same in float32

    @property
    def network(self) -> dict[str, Any]:
        """The fields of `NetworkConfig`."""
        return {name: getattr(self, name) for name in Row._fields[:6]}


# fmt: off
TABLE: dict[tuple[str, int], Row] = {
    #                  network                                                  recipe        cost
    # preset    px         width levels             blocks patch attn. dropout  batch  lr     weights  GFLOP  mixed   full
    ("cpu", 32):       Row( 16, (1, 2, 4, 8),       1, 1, (2,),   0.0,          32,  2e-3,    1.28, 0.0961,  1.19,   2.34),
    ("cpu", 64):       Row( 16, (1, 2, 4, 8),       1, 2, (2,),   0.0,          32,  2e-3,    1.29,  0.101,  1.28,   2.42),
    ("cpu", 96):       Row( 16, (1, 2, 4, 8),       1, 2, (2,),   0.0,          32,  2e-3,    1.29,  0.234,  2.88,   5.44),
    ("cpu", 128):      Row( 16, (1, 2, 4, 8, 8),    1, 2, (3,),   0.0,          32,  2e-3,    2.19,  0.389,  4.83,   9.08),
    ("cpu", 256):      Row( 64, (1, 2, 2),          1, 8, (),     0.0,          32,  7e-4,    2.64,   1.21,  5.76,   9.15),
    ("small", 32):     Row( 56, (1, 2, 3),          1, 2, (1, 2), 0.05,         64,  1e-3,    3.12,  0.204,  1.20,   2.31),
    ("small", 64):     Row( 80, (1, 2, 3),          2, 2, (1, 2), 0.05,         32,  5e-4,    11.0,   3.24,  12.6,   24.4),
    ("small", 96):     Row( 96, (1, 2, 3),          2, 2, (1, 2), 0.05,         32,  3e-4,    15.9,   11.0,  33.9,   65.8),
    ("small", 128):    Row( 96, (1, 2, 3, 4),       2, 2, (2, 3), 0.05,         32,  3e-4,    32.1,   17.9,  52.1,    101),
    ("small", 256):    Row(208, (1, 2, 3),          2, 4, (1, 2), 0.05,         16,  2e-4,    74.5,   90.9,   131,    254),
    ("standard", 32):  Row( 96, (1, 2, 3),          1, 2, (1, 2), 0.1,         128,  6e-4,    9.11,  0.588,  2.04,   3.94),
    ("standard", 64):  Row(192, (1, 2, 3),          1, 2, (1, 2), 0.1,          64,  3e-4,    36.3,   9.41,  16.1,   31.3),
    ("standard", 96):  Row(128, (1, 2, 4),          2, 2, (1, 2), 0.1,          32,  2e-4,    41.2,   22.7,  47.5,   92.6),
    ("standard", 128): Row(192, (1, 2, 3, 5),       1, 2, (2, 3), 0.1,          32,  2e-4,    94.5,   38.8,  56.0,    108),
    ("standard", 256): Row(384, (1, 2, 4),          1, 4, (1, 2), 0.1,          16,  1e-4,     213,    189,   137,    266),
    ("large", 32):     Row(112, (1, 2, 3),          2, 2, (1, 2), 0.1,         128,  5e-4,    21.6,   1.51,  4.40,   8.55),
    ("large", 64):     Row(256, (1, 2, 4),          1, 2, (1, 2), 0.1,          64,  2e-4,    94.6,   20.3,  22.7,   44.3),
    ("large", 96):     Row(256, (1, 2, 4),          1, 2, (1, 2), 0.1,          32,  1.3e-4,  94.6,   46.4,  51.1,   99.6),
    ("large", 128):    Row(256, (1, 2, 3, 4),       2, 2, (2, 3), 0.1,          32,  1.3e-4,   228,    125,   138,    268),
    ("large", 256):    Row(512, (1, 2, 3),          2, 4, (1, 2), 0.1,          16,  7e-5,     450,    517,   320,    623),
    ("classic", 32):   Row(128, (1, 2, 2, 2),       2, 1, (1,),   0.1,         128,  2e-4,    24.0,   6.76,  18.0,   35.0),
    ("classic", 64):   Row(128, (1, 2, 2, 2),       2, 1, (2,),   0.1,         128,  2e-4,    24.0,   24.6,  62.4,    121),
    ("classic", 96):   Row(128, (1, 2, 2, 2),       2, 1, (3,),   0.0,          64,  2e-5,    24.0,   53.9,   127,    254),
    ("classic", 128):  Row(128, (1, 1, 2, 2, 4),    2, 1, (3,),   0.0,          64,  2e-5,    45.6,   68.7,   197,    393),
    ("classic", 256):  Row(128, (1, 1, 2, 2, 4, 4), 2, 1, (4,),   0.0,          64,  2e-5,    73.1,    275,   781,   1559),
}
# fmt: on

# What else a preset decides. `cpu` up to 128 px: short runs; the rate falls early.
_SHORT_RUNS = {"warmup_steps": 50, "decay_steps": 2000}
# Ho et al. 2020, arXiv 2006.11239, section 4 and appendix B: Adam, no decay of the rate, one constant average.
_PAPER_2020: dict[str, Any] = {
    "prediction": "eps",
    "schedule": "linear",
    "loss_weight": "simple",
    "noise_levels": "independent",
    "optimizer": "adamw",  # without weight decay it is Adam
    "adam_beta2": 0.999,
    "warmup_steps": 5000,
    "ema_decay": 0.9999,
    "snapshots": False,
}


def recipe(preset: str, size: int) -> dict[str, Any]:
    """The settings that a preset brings beside its network, by their names in `RunConfig`."""
    row = TABLE[preset, size]
    more = _PAPER_2020 if preset == "classic" else _SHORT_RUNS if preset == "cpu" and size <= 128 else {}
    return {**more, "batch_size": row.batch_size, "lr": row.lr}
