"""The results of a run as one page: tables, curves, and videos of the best, median and worst cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench_run.completion import CODEC, MODEL
from bench_run.store import CaseRecord, Results
from bench_run.summary import SET_NAMES

from bench_report.chart import chart, mean_curve
from bench_report.chosen import Shown, best_median_worst
from bench_report.html import figure, heading, listed, note, page
from bench_report.pictures import rows_address, video_address
from bench_report.tables import about, kinds_table, measured, methods_table, sets_table, told
from vgen.files import write_whole, writing

DRAWN = (MODEL, "copy", "blend", "rife", CODEC[0])
"""Methods with a curve of their own."""


def write_page(results: Results, file: Path) -> None:
    """Writes the page, whole or not at all.

    Raises:
        InputError: a video or a record is missing or damaged, or the page must not be written.
        TryAgain: the disk is full.
    """
    text = _page(results)
    with writing(file, kept=""):
        write_whole(file, text)


def _page(results: Results) -> str:
    data, shown = results.data, Shown(results)
    title = f"{data['settings']['model']} on a bench of video completion"
    body = [heading(title, 1), note(settings_line(data)), _legend()]
    for group, entry in data["groups"].items():
        body += [heading(f"{group}: {entry['cases']} cases, {entry['with_truth']} with a true video")]
        body += [methods_table(entry["means"])]
        if "sets" in entry:
            body += [sets_table(entry["sets"]), note("; ".join(SET_NAMES.values()))]
        body += [heading("By what is given", 3), kinds_table(entry["kinds"])]
        for kind in entry["kinds"]:
            body += _kind(results, shown, kind, [c for c in data["cases"] if (c["group"], c["kind"]) == (group, kind)])
    return page(title, [*body, *_definitions(data)])


def settings_line(data: Mapping) -> str:
    """How a run was made, in a line."""
    settings, bench = data["settings"], data["bench"]
    chosen = {name: value for name, value in settings.items() if value not in (None, [], False, "auto", "none")}
    told_settings = ", ".join(f"{name} {value}" for name, value in chosen.items())
    size = f"{bench['frames']} frames of {bench['size']} at {bench['fps']:g} fps"
    return f"{len(data['cases'])} cases, {size}; bench {bench['sha256'][:12]}; {told_settings}"


def _legend() -> str:
    return note(
        "An arrow tells which way is better. Bold is the best of what does not see the truth; the codec's "
        "reconstructions do, and no completion through this codec is nearer to it. Green: better than everything "
        "that needs no model, whose best stands in small."
    )


def _kind(results: Results, shown: Shown, kind: str, cases: Sequence[Mapping]) -> list[str]:
    measure, chosen = best_median_worst(cases)
    records = [results.store.record(case["name"]) for case in cases]
    means = _mean_curves(records)
    by = f", by {about(measure).title}" if measure else ""
    parts = [
        heading(f"{kind}: {' and '.join(chosen) if len(chosen) < 3 else ', '.join(chosen)} of {len(cases)}{by}", 3)
    ]
    if means:
        parts.append(chart(means, f"{kind}: PSNR of each frame against the truth, mean, dB", _shared_frames(records)))
    figures = [_case(results, shown, case, word) for word, case in chosen.items()]
    return [*parts, f'<div class="cases">{"".join(figures)}</div>\n']


def _case(results: Results, shown: Shown, case: Mapping, word: str) -> str:
    name = case["name"]
    before, behind = shown.beside(name)
    videos = {**before, "model": shown.made(name), **behind}
    values = case["values"][MODEL]
    numbers = ", ".join(f"{about(m).title} {told(values[m], m)}" for m in ("psnr", "ssim", "given_psnr") if m in values)
    record = results.store.record(name)
    said = f" “{record.prompt}”" if record.prompt else ""
    address = video_address(videos, results.data["bench"]["fps"])
    drawn = figure(address, list(videos), rows_address(videos), f"{word}: {name}. {numbers}.{said}")
    curves = _curves(record)
    return f"<div>{drawn}{chart(curves, 'PSNR of each frame, dB', record.given) if curves else ''}</div>"


def _curves(record: CaseRecord) -> dict[str, list[float]]:
    """Those against the truth by method; where there is none, the model's against what was given."""
    if record.has_truth:
        return {_short(m): record.curves[m]["truth"] for m in DRAWN if "truth" in record.curves.get(m, {})}
    return dict(record.curves[MODEL])


def _mean_curves(records: Sequence[CaseRecord]) -> dict[str, list[float]]:
    of = {m: [r.curves[m]["truth"] for r in records if "truth" in r.curves.get(m, {})] for m in DRAWN}
    return {_short(method): mean_curve(curves) for method, curves in of.items() if curves}


def _shared_frames(records: Sequence[CaseRecord]) -> list[float]:
    """Frames at which all give something."""
    return sorted(set.intersection(*(set(record.given) for record in records)))


def _short(method: str) -> str:
    return "codec" if method in CODEC else method


def _definitions(data: Mapping) -> list[str]:
    names = dict.fromkeys(name for entry in data["groups"].values() for name in measured(entry["means"]))
    lines = [f"{about(name).title}: {about(name).text}" for name in names]
    parts = [heading("Definitions"), listed(lines)]
    if data["encoders"]:
        parts += [heading("Encoders", 3), listed([f"{name}: {line}" for name, line in data["encoders"].items()])]
    if data["left_out"]:
        parts += [heading("Left out"), listed([f"{name}: {reason}" for name, reason in data["left_out"].items()])]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return [*parts, note(versions)]
