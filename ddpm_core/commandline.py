"""What the command lines share: a parser that answers a mistake in one line, numbers with a range, and output that
outlives its reader."""

import argparse
import contextlib
import difflib
import errno
import io
import math
import os
import queue
import re
import shlex
import signal
import stat
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ddpm_core.errors import StudioError, UsageError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are `UsageError`s, with a "did you mean" for flags that do not exist.

    Flags that were not given are absent from the answer, so that `--resume` knows what a person asked for.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,  # "--epoch" should be asked about, not guessed
            **settings,
        )

    def given(self, argv: Sequence[str] | None = None) -> dict[str, Any]:
        """The flags that were given, by name. Raises `UsageError`; exits after --help."""
        argv = list(sys.argv[1:] if argv is None else argv)
        # argparse takes "-inf" and "-1e-4" for flags; joined to theirs they reach the check of its range.
        for place in range(len(argv) - 1, 0, -1):
            if re.fullmatch(r"--[a-z-]+", argv[place - 1]) and re.match(r"-\.?(\d|inf|nan)", argv[place], re.I):
                argv[place - 1 : place + 1] = [f"{argv[place - 1]}={argv[place]}"]
        values, unknown = self.parse_known_args(argv)
        # A backslash before a blank, as in the guide's block with remarks at the ends of its lines, makes an empty word.
        if any(not text.strip() for text in unknown):
            print(
                "note: a blank follows a backslash: that ends the command, and lines below it are not read.",
                file=sys.stderr,
            )
            unknown = [text for text in unknown if text.strip()]
        if unknown:
            flag = next((text for text in unknown if text.startswith("-")), unknown[0]).partition("=")[0]
            near = difflib.get_close_matches(flag, self._option_string_actions, n=1, cutoff=0.7)
            hint = f"did you mean {near[0]}?" if near else "--help lists what there is."
            raise UsageError(f"unknown argument {flag!r}: {hint}")
        return vars(values)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "))


def whole(low: int, high: int) -> Callable[[str], int]:
    """For `type=`: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}.")
        return value

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """For `type=`: a number from `low` to `high`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}.")
        return value

    return parse


def one_of(*choices: Any, what: str) -> Callable[[str], Any]:
    """For `type=`: one of `choices`, given as its text."""

    def parse(text: str) -> Any:
        for choice in choices:
            if text == str(choice):
                return choice
        raise argparse.ArgumentTypeError(f"{text!r} is not a {what}: choose {', '.join(map(str, choices))}.")

    return parse


# A closed terminal window or a lost connection: the first on Unix, the other on Windows.
HANG_UPS = [getattr(signal, name) for name in ("SIGHUP", "SIGBREAK") if hasattr(signal, name)]


def on_end(handler: Callable[..., Any]) -> dict[int, Any]:
    """Calls `handler` on Ctrl-C, SIGTERM, and when the terminal goes (unless that is ignored, as by nohup). Returns the handlers
    before."""
    hang_ups = [number for number in HANG_UPS if signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM, *hang_ups)}


def say_from_handler(words: bytes) -> None:
    """To stderr, from a signal's handler: that runs between any two instructions, also inside print."""
    with contextlib.suppress(OSError):  # nobody may read it any more, see `Lasting`
        os.write(2, words)


def listen_for_end(pause: float = 0.5) -> Callable[[], None]:
    """From now on the program hears when it is asked to end, see `on_end`; what is returned waits until it is (or was). Whoever is
    in a hurry can then ask again, and ends it at once.

    Not by an Event: the thread that a signal interrupts may hold its lock, and setting it there would wait for ever.
    """
    asked: queue.SimpleQueue[None] = queue.SimpleQueue()  # the one that may be put to between any two instructions
    on_end(lambda *_: asked.put(None))

    def wait() -> None:
        while True:
            with contextlib.suppress(queue.Empty):
                asked.get(timeout=pause)  # without a timeout Windows would not hear Ctrl-C
                break
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    return wait


def quoted(text: str) -> str:
    """`text` as one word of a command that a person copies, for the shell that this system has."""
    if os.name != "nt":
        return shlex.quote(text)
    return f'"{text}"' if re.search(r"[\s&|<>^()%!;,=]", text) else text  # a path there cannot have a quote in it


class Lasting(io.FileIO):
    """Standard output that outlives its reader: what is written to a terminal that is gone, or to the pipe of a `tee` that heard Ctrl-C
    too, goes nowhere, and does not end a run. Other errors are raised: a full disk must not pass for success."""

    GONE = (errno.EPIPE, errno.EIO, *([errno.EINVAL] if os.name == "nt" else []))

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in self.GONE:
                raise
            return memoryview(data).nbytes


def _lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """`stream` over a `Lasting` file; itself where it is an ordinary file, which no reader can leave, or none at all (Windows' console
    is a kind of its own)."""
    plain = getattr(stream.buffer, "raw", stream.buffer)
    if type(plain) is not io.FileIO or stat.S_ISREG(os.fstat(plain.fileno()).st_mode):
        return stream
    stream.flush()
    lasting = Lasting(plain.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        lasting if stream.buffer is plain else io.BufferedWriter(lasting),
        stream.encoding, line_buffering=stream.line_buffering, write_through=stream.write_through,
    )  # fmt: skip


def exit_code(program: Callable[[], int]) -> int:
    """Runs `program`; a `StudioError` becomes one line on stderr and its exit code, Ctrl-C a quiet 130."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if stream is getattr(sys, f"__{name}__"):  # else it is a test's, or a notebook's
            stream = _lasting(stream)
            setattr(sys, name, stream)
        stream.reconfigure(errors="backslashreplace")  # names of files may have letters that its encoding has not
    try:
        return program()
    except StudioError as error:
        print("error:", " ".join(str(error).split("\n")), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nstopped; nothing was saved.", file=sys.stderr)
        return 130
