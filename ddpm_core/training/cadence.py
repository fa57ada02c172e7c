"""When something that happens every N epochs is due.

An epoch of eight pictures is shorter than a step, and a run over them has a hundred thousand epochs: what counts then is that
there is not a checkpoint for every breath.
"""


class Cadence:
    """Every `every` epochs, at first with a fifth of the steps so far in between, later with `spacing` steps at the most.

    For sets of some thousand pictures that is simply every `every` epochs.
    """

    def __init__(self, every: int, spacing: int, step: int = 0) -> None:
        self.every = every
        self.spacing = spacing
        self.last = step

    def due(self, epoch_before: int, epoch: int, step: int) -> int | None:
        """The number to name it by, a multiple of `every`, if it is due at this step; remembers that it was."""
        number = epoch // self.every * self.every
        if number <= epoch_before or step - self.last < min(self.spacing, step / 5):
            return None
        self.last = step
        return number


def checkpoints(every: int, step: int = 0) -> Cadence:
    """Of the ddpm_epoch_N.pt files, with their sample grids and loss curves."""
    return Cadence(every, spacing=500, step=step)


def grids(every: int, step: int = 0) -> Cadence:
    """Of the quick sample grids."""
    return Cadence(every, spacing=200, step=step)


def count(cadence: Cadence, steps: int, pictures: int, batch_size: int) -> int:
    """How often `cadence` will be due in a run of `steps` steps."""
    times, step = 0, 0
    while True:
        # On to the step that completes the next multiple, or that the spacing allows.
        epoch = step * batch_size // pictures
        wanted = (epoch // cadence.every + 1) * cadence.every
        step = max(step + 1, -(-wanted * pictures // batch_size))
        if step > steps:
            return times
        epoch_before, epoch = (step - 1) * batch_size // pictures, step * batch_size // pictures
        times += cadence.due(epoch_before, epoch, step) is not None
