"""The results as a table to read."""

from __future__ import annotations

import math

from bench_common.report import number, row

from ego_suite.play import METHODS
from ego_suite.stage_one import TIMES
from vgen.metrics import FVD_NAME

LEGEND = """\
* better than copy (the start frame for ever) and than none (the same model with its actions dropped)
codec: the true frame as the codec rebuilds it, the ceiling; errors and distances are in metres where nothing else is
said; errors of Stage I are in the units of the layout; truth: the tracker on real frames"""
TITLES = {
    "psnr": ("PSNR of the frame, dB", 2),
    "psnr_moving": ("PSNR of moving pixels, dB", 2),
    "ssim": ("SSIM of the frame", 3),
}
TRACKED = ("model", "none", "copy", "codec", "truth")


def table(results: dict) -> str:
    """The results as text."""
    lines = [results["title"], ""]
    for name, sections in results["bodies"].items():
        lines += [f"{name}", "-" * len(name)]
        for section, write in SECTIONS.items():
            if section in sections:
                missing = sections[section].get("missing")
                lines += [f"{section}: {missing}"] if missing else write(sections[section])
                lines.append("")
    if "latency" in results:
        lines += [*_latency(results["latency"]), ""]
    return "\n".join([*lines, LEGEND])


def _forward(section: dict) -> list[str]:
    lines = []
    methods = [method for method in METHODS if method in next(iter(section.values()))["means"]]
    for metric, (title, digits) in TITLES.items():
        lines.append(row(title, [*methods, "n"]))
        for horizon, entry in section.items():
            means = {method: values[metric] for method, values in entry["means"].items()}
            cells = [number(means[method], digits) for method in methods]
            if "model" in means:
                cells[0] += "*" if all(means["model"] > means[other] for other in ("none", "copy")) else " "
            count = entry["n_moving"] if metric == "psnr_moving" else entry["n"]
            lines.append(row(f"  after {horizon} frames", [*cells, str(count)]))
    return lines


def _perceptual(section: dict) -> list[str]:
    lines = []
    for measure, title in (("st_lpips", "ST-LPIPS of the frame, less is better"), ("fvd", FVD_NAME)):
        known = {horizon: entry for horizon, entry in section.items() if entry[measure]}
        if known:
            methods = list(next(iter(known.values()))[measure])
            lines += [title] if measure == "fvd" else []
            lines.append(row("" if measure == "fvd" else title, [*methods, "n"], 38))
        for horizon, entry in known.items():
            cells = [number(value, 3) for value in entry[measure].values()]
            lines.append(row(f"  after {horizon} frames", [*cells, str(entry["n"])], 38))
    return lines


def _baselines(section: dict) -> list[str]:
    usual = _share(section["text_accuracy_most_frequent"])
    lines = [f"baselines, n = {section['n']}: the most frequent text is right in {usual}"]
    return lines + _paths(section) + _rows_of(section, "hand_iou", "IoU of hand boxes", 3)


def _paths(section: dict) -> list[str]:
    lines = _rows_of(section, "ade", "ADE, mean displacement error of a path", 4)
    return lines + _rows_of(section, "fde", "FDE, displacement error at its end", 4)


def _rows_of(section: dict, name: str, title: str, digits: int) -> list[str]:
    """Means by number of rows."""
    rows = section.get(name, {})
    if not rows:
        return []
    columns = [column for column in next(iter(rows.values())) if column != "n"]
    lines = [f"  {title}: {', '.join(columns)}"]
    for horizon, entry in rows.items():
        count = f" (n = {entry['n']})" if "n" in entry else ""
        lines.append(row(f"  after {horizon} rows{count}", [number(entry[column], digits) for column in columns]))
    return lines


def _counterfactual(section: dict) -> list[str]:
    lines = [row("own truth is the nearest", ["cases", "chance", "own", "next", "truths", "n"])]
    for horizon, entry in section.items():
        share = [f"{entry[key]:.0%}" for key in ("own_is_nearest", "chance")]
        keys = ("distance_to_own", "distance_to_nearest_other", "truth_to_nearest_other")
        far = [number(entry[key], 3) for key in keys]
        lines.append(row(f"  after {horizon} frames", [*share, *far, str(entry["n"])]))
        kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in entry["by_trajectory"].items())
        lines.append(f"    {kinds}")
    return lines


def _tracker(section: dict) -> list[str]:
    lines = []
    for kind in ("forward", "counterfactual"):
        if kind not in section:
            continue
        found = section[kind]
        lines.append(f"end effector in {kind} videos; the tracker's own error {100 * found['own_error_m']:.2f} cm")
        columns = [m for m in TRACKED if m in next(iter(found["horizons"].values()), {"methods": {}})["methods"]]
        lines.append(row("  error / distance moved", [*columns, "moved, cm", "n"]))
        for horizon, entry in found["horizons"].items():
            shares = [_share(entry["methods"][method]["share"]) for method in columns]
            moved = number(100 * entry["moved_m"])
            lines.append(row(f"  after {horizon} frames", [*shares, moved, str(entry["n"])]))
    return lines


def _policy(section: dict) -> list[str]:
    told, usual = (_share(section[key]) for key in ("text_accuracy", "text_accuracy_most_frequent"))
    lines = [f"policy: text right in {told} of {section['n']}, without a prompt (the most frequent text: {usual})"]
    for title, name, digits in (("displacement error", "displacement", 4), ("IoU of hand boxes", "hand_iou", 3)):
        rows = section.get(name, {})
        if rows:
            columns = [column for column in next(iter(rows.values())) if column != "n"]
            lines.append(f"  {title}: {', '.join(columns)}")
            for seconds, entry in rows.items():
                cells = [number(entry[column], digits) for column in columns]
                lines.append(row(f"  after {seconds} s (n = {entry['n']})", cells))
    lines += _paths(section)
    if len(section["displacement"]) < len(TIMES):
        lines.append(
            f"  later times lie beyond the {section['horizon_s']:g} s that the model predicts, or have no cases"
        )
    return lines


def _inverse(section: dict) -> list[str]:
    if not section["n"]:
        return ["inverse dynamics: no episode is long enough"]
    lines = [row(f"inverse dynamics, n = {section['n']}", ["model", "zero motion", "ratio"])]
    for name, title in (("step", "  error of a step"), ("final", "  error of the last place")):
        model, still = section[name], section[f"{name}, zero motion"]
        cells = [number(model, 4), number(still, 4), _share(model / still if still else math.nan)]
        lines.append(row(title, cells))
    return lines


def _latency(section: dict) -> list[str]:
    about = f"{section['device']}, {section['threads']} threads, {section['condition_attention']} condition attention"
    columns = ["first, s", "fps at 8", "fps at 200", "ratio", "GB at 8", "GB at 200"]
    lines = [f"latency on {about}", row("", columns)]
    for advance, entry in section["advances"].items():
        values = [entry["first_frame_s"], entry["fps"]["8"], entry["fps"]["200"], entry["fps_ratio"]]
        cells = [number(value) for value in (*values, entry["memory_gb"]["8"], entry["memory_gb"]["200"])]
        lines.append(row(f"  {advance} frames per step", cells))
    return lines


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


SECTIONS = {
    "forward": _forward,
    "perceptual": _perceptual,
    "counterfactual": _counterfactual,
    "tracker": _tracker,
    "policy": _policy,
    "inverse": _inverse,
    "baselines": _baselines,
}
