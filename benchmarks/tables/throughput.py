"""Pictures a second in training, beside the peers, on processors and cards."""

import statistics
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from benchmarks.tables.results import NOT_YET, blanks, grid, measured, measured_by

BASE = "diffusers"
OURS = "standard"
# What the README shows: the peers, our presets, and ours with as much work a picture as theirs.
ESSENTIAL = ("diffusers", "diffusers_tuned", "lucidrains", "lucidrains_tuned", "cpu", "standard", "full")


def throughput(results: Path) -> str:
    """Pictures a second in training, beside the peers: a table for each size."""
    return "\n".join(map(of_throughput, _sizes(results, "throughput"))) or NOT_YET


def throughput_short(results: Path) -> str:
    """The rows that say most, at 32 px."""
    found = measured(results / "throughput_32.json")
    return of_throughput(found, ESSENTIAL) if found else NOT_YET


def throughput_slower(results: Path) -> str:
    """The same on the slower of the two machines with bfloat16."""
    return "\n".join(map(of_throughput, _sizes(results, "throughput_slower"))) or NOT_YET


def throughput_float32(results: Path) -> str:
    """The same on a processor that has no bfloat16."""
    return "\n".join(map(of_throughput, _sizes(results, "throughput_float32"))) or NOT_YET


def throughput_card(results: Path) -> str:
    """The same on a graphics card."""
    return "\n".join(map(of_throughput, _sizes(results, "throughput_cuda"))) or NOT_YET


def _sizes(results: Path, name: str) -> list[dict[str, Any]]:
    """What was measured, size by size."""
    paths = sorted(results.glob(f"{name}_[0-9]*.json"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return [result for path in paths if (result := measured(path))]


def card(results: Path) -> str:
    """The card's tables in one: a line for each size."""
    found = [result for result in _sizes(results, "throughput_cuda") if OURS in result["rows"]]
    if not found:
        return NOT_YET
    rows = []
    for result in found:
        of_all = result["rows"]
        best = _best_tuned(result)
        base, peer = (f"{of_all[key]['images_per_second']:,.0f}" if key in of_all else "" for key in (BASE, best))
        both = [of_all[OURS], *([of_all[best]] if best else [])]
        shares = [row["share_of_peak"] for row in both]
        of_peak = " / ".join(f"{100 * share:.0f} %" for share in shares) if all(shares) else ""
        rows.append(
            {
                "px": f"{result['size']}",
                "weights": f"{of_all[OURS]['parameters'] / 1e6:.0f} M",
                "GFLOP an image, ours / theirs": " / ".join(f"{row['flops'] / 1e9:.2f}" for row in both),
                "ours, images/s": f"{of_all[OURS]['images_per_second']:,.0f}",
                "diffusers as it comes": base,
                "the best tuned peer": peer,
                "ours beside that": _against(of_all, OURS, best),
                "of the card's peak, ours / theirs": of_peak,
            }
        )
    lines = grid(rows)
    lines += ["", f"Preset `{OURS}`, OpenMoji, bfloat16.{blanks(lines)} {measured_by(found)}"]
    return "\n".join(lines) + "\n"


def _best_tuned(result: dict[str, Any]) -> str | None:
    """The fastest of the peers that were tuned, whoever's it is."""
    paces = {key: row["images_per_second"] for key, row in result["rows"].items() if "_tuned" in key}
    return max(paces, key=lambda key: paces[key], default=None)


def of_throughput(result: dict[str, Any], keys: Collection[str] | None = None) -> str:
    """One row a way to train, or those of `keys`. All are compared with the fastest tuned one as well, whoever's it is: the foot
    says which."""
    best = _best_tuned(result)
    on_a_card = not result["device"].startswith("processor")
    unit, in_unit = ("TFLOP/s", _in_thousands) if on_a_card else ("GFLOP/s", "{:.0f}".format)
    rows = _paces(result, keys or result["rows"], best, unit, in_unit)
    said = blanks(rows) + (f" The best tuned is {result['titles'][best]}." if best else "")
    if peaks := result["peak_gflops"]:
        each = " and ".join(
            f"{gflops / (1000 if on_a_card else 1):.0f} {unit} in {kind}" for kind, gflops in peaks.items()
        )
        tf32 = " (torch computes float32 in TF32 there)" if on_a_card else ""
        said += f" The {'card' if on_a_card else 'machine'}'s fastest convolution reaches {each}{tf32}."
    return "\n".join([f"**{result['pictures']}**", "", *rows, *_foot(result, said)]) + "\n"


def _in_thousands(gflops: float) -> str:
    return f"{gflops / 1000:.1f}"


def _paces(
    result: dict[str, Any], keys: Collection[str], tuned: str | None, unit: str, in_unit: Callable[[float], str]
) -> list[str]:
    """A line for each row of `keys`; `tuned` is the second one that all are compared with."""
    rows = []
    for key, row in result["rows"].items():
        if key not in keys:
            continue
        kind = "bfloat16" if row["bfloat16"] else "float32"
        pace = row["images_per_second"]
        rows.append(
            {
                "training": f"{result['titles'][key]} (batch {row['batch_size']})",
                "weights": f"{row['parameters'] / 1e6:.2f} M",
                "GFLOP an image": f"{row['flops'] / 1e9:.2f}",
                "images/s": f"{pace:{',.0f' if pace >= 1000 else '.1f'}}",
                "against diffusers": f"**{row['ratio']:.2f}x**" if row["ratio"] else "",
                "range": "{:.2f} to {:.2f}".format(*row["ratio_range"]) if row["ratio_range"] else "",
                "against the best tuned": _against(result["rows"], key, tuned),
                unit: in_unit(row["gflops"]),
                "of peak": f"{100 * row['share_of_peak']:.0f} % of {kind}" if row["share_of_peak"] else "",
            }
        )
    return grid(rows)


def _foot(result: dict[str, Any], said: str) -> list[str]:
    """How, where and when it was measured, what is `said` beside, and what failed."""
    steps, disturbed, kept = (
        sum(row[name] for row in result["rows"].values())
        for name in ("steps", "disturbed_steps", "disturbed_steps_kept")
    )
    return [
        "",
        f"Medians over {result['rounds']} interleaved rounds of {result['seconds']:g} s, ratios taken inside a round.{said}"
        f" {_of_steps(steps, disturbed, kept)} {measured_by([result])}",
        *(f"Left out: {why}" for why in result["left_out"].values()),
    ]


def _against(rows: dict[str, Any], key: str, base: str | None) -> str:
    """A row's pace beside that of `base` in the same round: median and range over rounds; "" where that was not measured."""
    if base is None or base not in rows:
        return ""
    ratios = [pace / other for pace, other in zip(rows[key]["rounds"], rows[base]["rounds"], strict=True)]
    each = f" ({min(ratios):.2f} to {max(ratios):.2f})" if key != base else ""
    return f"**{statistics.median(ratios):.2f}x**{each}"


def _of_steps(steps: int, disturbed: int, kept: int) -> str:
    if not disturbed:
        return f"Nothing else was at work beside any of the {steps:,} steps."
    counted = f"{kept:,} of them counted all the same, because too few others remained" if kept else "they do not count"
    return f"Other programs were at work beside {disturbed:,} of {steps:,} steps; {counted}."
