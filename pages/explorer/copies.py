"""Is it a copy? The training pictures that are nearest to one sample, and what the ratio of their distances says."""

import functools
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from ddpm_core import gallery, pictures, recipes, sheet
from ddpm_core.config import RunConfig
from ddpm_core.data import catalogue
from ddpm_core.data.catalogue import Pictures
from ddpm_core.data.source import Progress
from ddpm_core.errors import UsageError
from ddpm_core.evaluation import copies
from ddpm_core.evaluation.copies import Nearest
from ddpm_core.runs import Run
from pages.explorer.stream import Asked, Shown, Told, whole
from pages.texts import number, t

if TYPE_CHECKING:
    import numpy as np

    from ddpm_core.session import Session

T = TypeVar("T")
NEAREST = 4


def make(session: "Session", asked: Asked) -> Generator[Shown, None, None]:
    """asked: key of a kept grid, index of the picture in it. Told: says (one sentence), nearest [{src, says}]."""
    entry = gallery.find(session.root, str(asked.get("key")))
    png = entry.path.read_bytes()
    recipe = recipes.read_recipe(png)
    if recipe is None or recipe["what"] == "compare":
        raise UsageError(t("copies.grid"))
    index = whole(asked, "index", 0, recipes.count(recipe) - 1, 0)
    (made,) = sheet.cut(recipe, gallery.pixels(png))
    run = Run(session.root, recipe["run"])
    config = run.config()

    def look(progress: Progress) -> tuple[Pictures, Nearest, bool]:
        data = pictures_of(config, session.data_dir, progress)
        trained = trained_on(run, config, data)
        sample = made[index][..., : data.images.shape[1]]  # the page's sheets have three channels, also of a grey model
        found = copies.nearest(sample, data.images, NEAREST, progress=progress, trained=trained)
        return data, found, trained is None

    data, found, changed = yield from _Beside(look).heard()
    says = verdict(found, changed)
    told = {"done": 1.0, "says": says, "nearest": [_near(data, found, i) for i in range(len(found.indices))]}
    yield lambda: told


def trained_on(run: Run, config: RunConfig, data: Pictures) -> "np.ndarray | None":
    """Which of these pictures the run learned from, in order: all but those that it holds out.

    None where they may be others than it was trained on: the same split of others holds out pictures that it did learn from.
    """
    from ddpm_core.training import held_out

    trained, apart = held_out.split(len(data.images), config.held_out, config.seed)
    return trained.numpy() if not len(apart) or _are_the_runs(run, config, data) else None


def _are_the_runs(run: Run, config: RunConfig, data: Pictures) -> bool:
    """Whether the run's state has these pictures' mark, as a resume asks for it (training/state.py)."""
    from ddpm_core import checkpoint
    from ddpm_core.data import places

    saved = checkpoint.data_mark(run.state_path)
    labels = data.labels.tobytes() if config.class_conditional and data.labels is not None else b""
    return saved is not None and saved in (places.mark(data.images, labels, whole=whole) for whole in (False, True))


def pictures_of(config: RunConfig, data_dir: Path, progress: Progress | None = None) -> Pictures:
    """The data set of a run of these settings. Raises `DataError` where it is gone."""
    return catalogue.load(
        config.dataset, config.size, data_dir, progress,
        crop=config.crop, background=config.background, colour=config.colour,
    )  # fmt: skip


def verdict(found: Nearest, changed: bool = False) -> str:
    """One sentence, with its reason; what is in the data more than once is told after it, and that they may have changed."""
    ratio = t("copies.ratio", ratio=f"{found.ratio:.2f}") if found.ratio is not None else ""
    values = {"rms": number(found.rms), "copy": f"{copies.COPY:.2f}", "close": f"{copies.CLOSE:.2f}", "ratio": ratio}
    if found.rms < copies.SAME:
        line = t("copies.same" if found.rms else "copies.equal", **values)
    else:
        line = t("copies." + (found.verdict if ratio else "alone"), **values)
    if found.twins:
        line += " " + t("copies.twins", count=found.twins + 1)
    return f"{line} {t('copies.changed')}" if changed else line


def _near(data: Pictures, found: Nearest, i: int) -> Told:
    index, flipped = int(found.indices[i]), bool(found.flipped[i])
    picture: np.ndarray = data.images[index].transpose(1, 2, 0)
    words = t("copies.near.flipped" if flipped else "copies.near", index=index, distance=f"{found.distances[i]:.0f}")
    if data.labels is not None and data.classes:
        words = f"{words} · {data.classes[int(data.labels[index])]}"
    return {"src": pictures.to_data_uri(picture[:, ::-1] if flipped else picture), "says": words}


class _Left(Exception):
    """Whoever asked has gone."""


class _Beside(Generic[T]):
    """Work on a thread beside, and the newest that it has told of its progress."""

    def __init__(self, work: Callable[[Progress], T]) -> None:
        self.left = False
        self._change = threading.Condition()
        self._news: tuple[str, int, int] | None = None
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._over = False
        self._work = work
        threading.Thread(target=self._run, name="looking", daemon=True).start()

    def heard(self) -> Generator[Shown, None, T]:
        """What it tells, until it is over; then what it came to. Where nobody listens any more, the work ends."""
        try:
            while True:
                with self._change:
                    self._change.wait_for(lambda: self._news or self._over)
                    news, self._news = self._news, None
                if news is None:
                    break
                yield functools.partial(_progress, *news)
        finally:
            self.left = True
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._work(self._tell))
        except BaseException as error:
            self._error = error
        with self._change:
            self._over = True
            self._change.notify_all()

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.left:
            raise _Left
        with self._change:
            self._news = what, done, total
            self._change.notify_all()


def _progress(what: str, done: int, total: int) -> Told:
    line = t("copies.line", what=what, done=number(done), total=number(total))
    return {"line": line, "done": done / max(1, total)}
