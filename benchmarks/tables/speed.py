"""How fast it is: pictures a second beside the peers, where a step's time goes, the plan's forecasts, the data path, the page."""

import statistics
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from benchmarks.tables.results import NOT_YET, blanks, measured, measured_by

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
    lines = [
        "| px | weights | GFLOP an image, ours / theirs | ours, images/s | diffusers as it comes | the best tuned peer | ours beside that"
        " | of the card's peak, ours / theirs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in found:
        rows = result["rows"]
        best = _best_tuned(result)
        base, peer = (f"{rows[key]['images_per_second']:,.0f}" if key in rows else "" for key in (BASE, best))
        both = [rows[OURS], *([rows[best]] if best else [])]
        work = " / ".join(f"{row['flops'] / 1e9:.2f}" for row in both)
        shares = [row["share_of_peak"] for row in both]
        of_peak = " / ".join(f"{100 * share:.0f} %" for share in shares) if all(shares) else ""
        lines.append(
            f"| {result['size']} | {rows[OURS]['parameters'] / 1e6:.0f} M | {work} | {rows[OURS]['images_per_second']:,.0f} | {base} | {peer}"
            f" | {_against(rows, OURS, best)} | {of_peak} |"
        )
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
    lines = [
        f"| training | weights | GFLOP an image | images/s | against diffusers | range | against the best tuned | {unit} | of peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, row in result["rows"].items():
        if key not in keys:
            continue
        ratio = f"**{row['ratio']:.2f}x**" if row["ratio"] else ""
        low_high = "{:.2f} to {:.2f}".format(*row["ratio_range"]) if row["ratio_range"] else ""
        kind = "bfloat16" if row["bfloat16"] else "float32"
        share = f"{100 * row['share_of_peak']:.0f} % of {kind}" if row["share_of_peak"] else ""
        pace = row["images_per_second"]
        lines.append(
            f"| {result['titles'][key]} (batch {row['batch_size']}) | {row['parameters'] / 1e6:.2f} M | {row['flops'] / 1e9:.2f}"
            f" | {pace:{',.0f' if pace >= 1000 else '.1f'}} | {ratio} | {low_high} | {_against(result['rows'], key, tuned)}"
            f" | {in_unit(row['gflops'])} | {share} |"
        )
    return lines


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


PROFILES = {"Before": "profile_before.json", "Now": "profile.json", "Now, without bfloat16": "profile_float32.json"}


def profile(results: Path) -> str:
    """Where a step's time goes, before and after, on a processor without bfloat16, and on cards by size."""
    parts = [of_profile(title, found) for title, file in PROFILES.items() if (found := measured(results / file))]
    of_cards = {int(path.stem.rpartition("_")[2]): measured(path) for path in results.glob("profile_cuda_[0-9]*.json")}
    parts += [of_profile(f"On a card, {size} px", found) for size, found in sorted(of_cards.items()) if found]
    return "\n".join(parts) or NOT_YET


def of_profile(title: str, found: dict[str, Any]) -> str:
    """One column a network: milliseconds of a step and their share, by kind of work."""
    rows = found["rows"]
    kinds = list(next(iter(rows.values()))["milliseconds"])
    lines = [
        f"| {title} | "
        + " | ".join(f"{found['titles'][key]} (batch {row['batch_size']})" for key, row in rows.items())
        + " |",
        "|---|" + "---|" * len(rows),
    ]
    for kind in kinds:
        cells = []
        for row in rows.values():
            spent = row["milliseconds"]
            cells.append(f"{_short(spent[kind])} ms, {100 * spent[kind] / sum(spent.values()):.0f} %")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    paces = [row["gflops_an_image"] * row["batch_size"] / row["wall"] * 1000 for row in rows.values()]
    lines += [
        "| a step without the profiler | " + " | ".join(f"{_short(row['wall'])} ms" for row in rows.values()) + " |",
        f"| GFLOP/s, of {found['peak_gflops']:,} | "
        + " | ".join(f"{pace:,.0f}, {100 * pace / found['peak_gflops']:.0f} %" for pace in paces)
        + " |",
        "",
        measured_by([found]),
    ]
    return "\n".join(lines) + "\n"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"


def memory(results: Path) -> str:
    """The plan's memory and pace beside what was measured, on a processor and on a card."""
    found = [measured(results / file) for file in ("memory.json", "memory_float32.json", "memory_cuda.json")]
    return "\n".join(of_memory(one) for one in found if one) or NOT_YET


def of_memory(found: dict[str, Any]) -> str:
    """A line for each network that was tried."""
    lines = [
        "| network | at once | arithmetic | memory, measured | planned | off by | images/s, measured | forecast | off by |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"].values():
        cells = [f"`{row['preset']}`, {row['size']} px", f"{row['micro_batch']} of {row['batch_size']}"]
        cells += ["mixed" if row.get("half") else "float32"]
        cells += (
            [f"{row['measured'] / 1e6:.0f} MB", f"{row['planned'] / 1e6:.0f} MB"] if "measured" in row else ["", ""]
        )
        cells += [_off(row["planned"], row["measured"])] if "measured" in row else [""]
        if "forecast" in row:
            cells += [f"{row['images_per_second']:g}", f"{row['forecast']:g}"]
            cells += [_off(row["forecast"], row["images_per_second"])]
        else:
            cells += ["", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", f"{blanks(lines)} {measured_by([found])}".strip()]
    return "\n".join(lines) + "\n"


def _off(told: float, measured: float) -> str:
    return f"{100 * (told / measured - 1):+.0f} %"


def data_path(results: Path) -> str:
    """A step with real batches beside a step with one batch held fixed, one table a machine, preset and size."""
    every = (measured(path) for path in sorted(results.glob("data_path_*.json")))
    return "\n".join(of_data_path(found) for found in every if found) or NOT_YET


def of_data_path(found: dict[str, Any]) -> str:
    """One row a place where pictures wait."""
    lines = ["| pictures | ms a step | of the fixed batch's time | in half of the rounds |", "|---|---|---|---|"]
    for name, row in found["rows"].items():
        ratio = "" if name == "fixed" else f"**{100 * row['times_fixed']:.1f} %**"
        half = "" if name == "fixed" else "{:.1f} to {:.1f} %".format(*(100 * end for end in row["half"]))
        lines.append(f"| {name}: {row['where']} | {row['milliseconds']:.1f} | {ratio} | {half} |")
    lines += [
        "",
        f"`{found['preset']}`, {found['size']} px, {found['pictures']:,} pictures, batches of {found['batch_size']}; medians over"
        f" {found['rounds_counted']} rounds, {found['rounds_disturbed']} of {found['rounds']} with other programs at work."
        f" {measured_by([found])}",
    ]
    return "\n".join(lines) + "\n"


def explorers(results: Path) -> str:
    """How soon the Generation tab answers."""
    if not (found := measured(results / "explorers.json")):
        return NOT_YET
    words = {"coarse": "the pad under a moving pointer, from its coarse map", "exact": "the pad's exact picture at rest, with the page's wait of 120 ms"}  # fmt: skip
    lines = ["| milliseconds | median | longest | times |", "|---|---|---|---|"]
    for key, row in found["pad"].items():
        lines.append(f"| {words[key]} | **{row['median']:.0f}** | {row['longest']:.0f} | {row['times']} |")
    for mode, row in found["cancel"].items():
        rest = row["rested"]
        lines.append(
            f"| Cancel in `{mode}`: until nothing is drawn any more | **{1000 * rest['median']:.0f}** | {1000 * rest['longest']:.0f}"
            f" | {rest['times']} |"
        )
    lines += [
        "",
        f"In a real Chromium, with a `cpu` model of 32 px. The page itself says Cancelled after"
        f" {1000 * max(row['told']['longest'] for row in found['cancel'].values()):.0f} ms at the latest."
        f" {measured_by([found])}",
    ]
    return "\n".join(lines) + "\n"
