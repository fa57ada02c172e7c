"""The mistakes a person can make, each told in one line: what is wrong, where, and the fix."""


class StudioError(Exception):
    """A mistake that its message explains; shown without a traceback. `exit_code` is for command lines."""

    exit_code = 1


class UsageError(StudioError):
    """A setting or an argument that cannot work."""

    exit_code = 2


class RunInUseError(StudioError):
    """Another program is training this run right now."""

    exit_code = 3


class DataError(StudioError):
    """A data set that is missing, empty or damaged."""

    exit_code = 4


class CheckpointError(StudioError):
    """A checkpoint that is missing, damaged, or made by another program."""

    exit_code = 4
