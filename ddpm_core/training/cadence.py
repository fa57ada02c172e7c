"""When something that happens every N epochs is due.

An epoch of eight pictures is shorter than a step, and a run over them has a hundred thousand epochs: what counts then is that
there is not a checkpoint for every breath.
"""

SMALLEST_GAP = 8  # steps


class Cadence:
    """Every `every` epochs, at first with a fifth of the steps so far in between, later with `spacing` steps at the most.

    For sets of some thousand pictures that is simply every `every` epochs.
    """

    def __init__(self, every: int, spacing: int) -> None:
        self.every = every
        self.spacing = spacing
        self.last = 0  # the step at which it was due
        self.number = 0  # and the number to name that by

    def due(self, epoch_before: int, epoch: int, step: int) -> int | None:
        """The number to name it by, a multiple of `every`, if it is due at this step; remembers both."""
        number = epoch // self.every * self.every
        if number <= epoch_before or step - self.last < min(self.spacing, max(SMALLEST_GAP, step / 5)):
            return None
        self.last, self.number = step, number
        return number

    def replay(self, steps: int, pictures: int, batch_size: int) -> int:
        """Goes through a run's first `steps` steps, so that a resumed one keeps time; returns how often it was due."""
        times, step = 0, 0
        while True:
            # On to the step that completes the next multiple.
            epoch = step * batch_size // pictures
            wanted = (epoch // self.every + 1) * self.every
            step = max(step + 1, -(-wanted * pictures // batch_size))
            if step > steps:
                return times
            epoch_before, epoch = (step - 1) * batch_size // pictures, step * batch_size // pictures
            times += self.due(epoch_before, epoch, step) is not None


def checkpoints(every: int) -> Cadence:
    """Of the ddpm_epoch_N.pt files, with their sample grids and loss curves."""
    return Cadence(every, spacing=500)


def grids(every: int) -> Cadence:
    """Of the quick sample grids."""
    return Cadence(every, spacing=200)


def best() -> Cadence:
    """Of the question whether this is the best model so far: its file is a large one, and a card makes an epoch in a second."""
    return Cadence(1, spacing=500)
