"""A small classifier per data set, whose inner features are what pictures are compared in (benchmarks/distance.py).

    python -m benchmarks.encoder fashion_mnist 32

Trains one (about five minutes on one core) and writes benchmarks/encoders/<set>_<size>_<hash>.pt: float16 weights, under
1 MB, committed. Distances in the features of two different encoders cannot be compared, so every distance names its encoder
by that hash, and `load` refuses weights that do not hash to their name. These are not Inception's features: no figure made
with them is an FID.

The unit: features are scaled so that 1,000 real training pictures are 4.8 away from the reference set (Frechet). A scale
changes no order and no ratio of Frechet distances; it only makes those of different encoders readable side by side. (The kernel
distance's kernel has a constant in it, so its size depends on the unit.)
"""

import argparse
import datetime
import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ddpm_core import devices
from ddpm_core.data import cache, catalogue, idx
from ddpm_core.data.cache import Pictures
from ddpm_core.errors import StudioError, UsageError

FOLDER = Path(__file__).parent / "encoders"
FEATURES = 128
FLOOR = 4.8  # of 1,000 real pictures, see above
SIZES = (32, 64)
_EPOCHS = {"fashion_mnist": 4, "openmoji": 30}
_BATCH = 128


class Encoder(nn.Module):
    """uint8 (N, C, S, S) -> features float32 (N, 128). `logits` gives the classes' scores instead."""

    scale: Tensor

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        # (width, stride), halved down to maps of 8 x 8. The first layer has full resolution: it sees single pixels.
        plan = [(16, 1), *[(24, 2)] * (size // 64), (32, 2), (64, 1), (96, 2), (FEATURES, 1)]
        layers: list[nn.Module] = []
        for width, stride in plan:
            layers += [nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, classes)
        self.register_buffer("scale", torch.ones(()))
        self.name = "untrained encoder"
        self.about: dict[str, Any] = {}

    def forward(self, images: Tensor) -> Tensor:
        return self._pooled(images) * self.scale

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self._pooled(images))

    def _pooled(self, images: Tensor) -> Tensor:
        return self.body(images.float() / 127.5 - 1).mean((2, 3))


@torch.no_grad()
def features(encoder: Encoder, images: np.ndarray | Tensor) -> Tensor:
    """uint8 (N, C, S, S) -> float64 (N, 128) on the processor."""
    device = next(encoder.parameters()).device
    if images.dtype not in (np.uint8, torch.uint8):
        raise UsageError(f"pictures are compared as uint8, these are {images.dtype}.")
    whole = torch.as_tensor(np.array(images) if isinstance(images, np.ndarray) else images)
    return torch.cat([encoder(part.to(device)).double().cpu() for part in whole.split(500)])


def load(dataset: str, size: int, folder: Path = FOLDER) -> Encoder:
    """The committed encoder, ready to use. Raises `UsageError` when there is none, or its weights are not those it is named for."""
    found = sorted(folder.glob(f"{dataset}_{size}_*.pt"))
    if not found:
        there = [path.stem.rsplit("_", 2) for path in sorted(folder.glob("*.pt"))]
        new = f" A new one takes some minutes: python -m benchmarks.encoder {dataset} {size}." if dataset in _EPOCHS and size in SIZES else ""  # fmt: skip
        raise UsageError(
            f"there is no encoder for {dataset} at {size} px: choose {' or '.join(f'{name} at {px} px' for name, px, _ in there)}.{new}"
        )
    if len(found) > 1:
        raise UsageError(
            f"there are {len(found)} encoders for {dataset} at {size} px: keep one, {' or '.join(p.name for p in found)}."
        )
    try:
        stored = torch.load(found[0], map_location="cpu", weights_only=True)
        weights, about = stored["weights"], stored["about"]
        mark = hash8(weights)
        encoder = Encoder(about["channels"], about["size"], about["classes"])
        encoder.load_state_dict(weights, strict=True)
    except Exception as error:  # damaged in any way: it says so in one line
        raise UsageError(f"{found[0]} cannot be read ({type(error).__name__}): check it out anew.") from None
    if mark != found[0].stem.rsplit("_", 1)[1]:
        raise UsageError(f"the weights in {found[0]} hash to {mark}, not to its name: check it out anew.")
    encoder.name, encoder.about = f"{dataset} encoder {mark}", about
    return encoder.eval().requires_grad_(False)


def hash8(weights: dict[str, Tensor]) -> str:
    """Eight hex digits of SHA-256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {tuple(weights[name].shape)} {weights[name].dtype};".encode())
        digest.update(weights[name].contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


# The pictures an encoder learns from, and those it is judged by.


class FashionMnistTest(idx.FashionMnist):
    """The 10,000 pictures that no network here is trained on."""

    slug = "fashion_mnist_test"
    files = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def training_pictures(dataset: str, size: int, data_dir: Path) -> Pictures:
    return catalogue.load(dataset, size, data_dir)


def reference_pictures(dataset: str, size: int, data_dir: Path) -> Pictures:
    """What generated pictures are compared with: a set's test part, or the whole set where it has none."""
    if dataset == "fashion_mnist":
        return cache.fetch(FashionMnistTest(data_dir), size, data_dir / "cache")
    return catalogue.load(dataset, size, data_dir)


def _split(dataset: str, size: int, data_dir: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images and labels to learn from, images and labels to judge by."""
    learn = training_pictures(dataset, size, data_dir)
    if learn.labels is None:
        raise UsageError(f"{dataset} has no classes to learn: choose fashion_mnist or openmoji.")
    images, labels = torch.tensor(learn.images), torch.tensor(learn.labels)
    if dataset == "fashion_mnist":
        judge = reference_pictures(dataset, size, data_dir)
        return images, labels, torch.tensor(judge.images), torch.tensor(judge.labels)
    # Every tenth drawing at random is held out. Its sisters of other skin tones may well be among those learned from.
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held, kept = order[: len(order) // 10], order[len(order) // 10 :]
    return images[kept], labels[kept], images[held], labels[held]


def _augment(images: Tensor, mirror: bool, shift: int = 2) -> Tensor:
    """Each batch is shifted by up to two pixels (the edge repeated) and, where a mirror image is as good, mirrored by half."""
    size = images.shape[-1]
    padded = nn.functional.pad(images.float(), (shift,) * 4, mode="replicate")
    parts = []
    for part in padded.chunk(8):  # a shift each for an eighth of the batch: slices are cheap, a gather is not
        top, left = torch.randint(0, 2 * shift + 1, (2,)).tolist()
        part = part[:, :, top : top + size, left : left + size]
        parts.append(part.flip(3) if mirror and torch.rand(()) < 0.5 else part)
    return torch.cat(parts)


def train(dataset: str, size: int, data_dir: Path, epochs: int | None = None) -> Path:
    """Trains an encoder, writes its file, returns the path. An older one for the same pictures is replaced."""
    images, labels, test_images, test_labels = _split(dataset, size, data_dir)
    epochs = epochs or _EPOCHS.get(dataset, 10)
    torch.manual_seed(0)
    encoder = Encoder(images.shape[1], size, int(labels.max()) + 1)
    # Groups of drawings are of very different sizes; a rare one must count for something too.
    share = labels.bincount().float() / len(labels)
    loss_of = nn.CrossEntropyLoss(weight=(share * len(share)) ** -0.5, label_smoothing=0.05)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=3e-3, weight_decay=0.02)
    steps = epochs * (len(images) // _BATCH)
    rhythm = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps, pct_start=0.2)
    started = time.monotonic()
    for epoch in range(epochs):
        for chosen in torch.randperm(len(images))[: len(images) // _BATCH * _BATCH].split(_BATCH):
            with devices.autocast(torch.device("cpu"), True):
                loss = loss_of(encoder.logits(_augment(images[chosen], mirror=True)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rhythm.step()
        accuracy = _accuracy(encoder, test_images, test_labels)
        seconds = time.monotonic() - started
        print(f"epoch {epoch + 1}/{epochs}, loss {loss.item():.3f}, test accuracy {accuracy:.4f}, {seconds:.0f} s", flush=True)  # fmt: skip
    encoder.eval().requires_grad_(False)
    for weight in [*encoder.parameters(), *(b for b in encoder.buffers() if b.is_floating_point())]:
        weight.copy_(weight.half())  # what is stored is what is judged
    encoder.scale.copy_(torch.tensor(_unit(encoder, dataset, size, data_dir)).half())
    weights = {
        name: weight.half() if weight.is_floating_point() else weight for name, weight in encoder.state_dict().items()
    }
    about = {
        "dataset": dataset,
        "size": size,
        "channels": images.shape[1],
        "classes": encoder.head.out_features,
        "weights": sum(weight.numel() for weight in encoder.parameters()),
        "test_accuracy": round(_accuracy(encoder, test_images, test_labels), 4),
        "judged_by": "the test part" if dataset == "fashion_mnist" else "a tenth of the drawings, held out",
        "epochs": epochs,
        "date": datetime.date.today().isoformat(),
        "command": f"python -m benchmarks.encoder {dataset} {size}",
        "torch": str(torch.__version__),
    }
    path = FOLDER / f"{dataset}_{size}_{hash8(weights)}.pt"
    path.parent.mkdir(exist_ok=True)
    for old in path.parent.glob(f"{dataset}_{size}_*.pt"):
        old.unlink()
    torch.save({"weights": weights, "about": about}, path)
    print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB, {about['weights']:,} weights, test accuracy {about['test_accuracy']}")  # fmt: skip
    return path


def _accuracy(encoder: Encoder, images: Tensor, labels: Tensor) -> float:
    encoder.eval()
    with torch.no_grad():
        answers = torch.cat([encoder.logits(part).argmax(1) for part in images.split(500)])
    encoder.train()
    return (answers == labels).double().mean().item()


def _unit(encoder: Encoder, dataset: str, size: int, data_dir: Path) -> float:
    """The factor for features that puts the floor of 1,000 real pictures at FLOOR."""
    from benchmarks import distance

    encoder.eval()
    return (FLOOR / distance.floor(encoder, dataset, size, data_dir, count=1000).frechet) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=sorted(_EPOCHS))
    parser.add_argument("size", type=int, choices=SIZES)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    options = parser.parse_args()
    try:
        devices.keep_freed_memory()
        train(options.dataset, options.size, options.data_dir, options.epochs)
    except StudioError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
