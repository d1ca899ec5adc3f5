"""The results as a table to read."""

from __future__ import annotations

import math
from functools import partial

from bench_common.report import number
from bench_common.report import row as common_row

from canvas_suite.judges import PEERS, ST_LPIPS_FRAME_STEP
from canvas_suite.scores import LESS_IS_BETTER
from vgen.metrics import FVD_NAME

BASELINES = ("copy", "blend", "edges")
LEGEND = """\
* better than every baseline: copy (of the nearest given frame), blend (linear in time between given frames), edges
(the blend, where pixels that no frame gives take the nearest given pixel in space instead of the mean colour)"""
TITLES = {
    "psnr": "PSNR of the whole video, dB",
    "psnr_moving": "PSNR of moving pixels, dB",
    "ssim": "SSIM of the whole video",
    "st_lpips": f"ST-LPIPS, less is better; of every frame whose number {ST_LPIPS_FRAME_STEP} divides",
    "fvd": f"{FVD_NAME}; less is better",
}
SHORT = {"psnr": "PSNR", "psnr_moving": "moving", "ssim": "SSIM", "st_lpips": "ST-LPIPS", "fvd": "FVD"}
GIVEN_COLUMNS = {"model": "model", "codec_video": "video", "codec_image": "image"}
DIGITS = {"ssim": 3, "st_lpips": 3, "fvd": 0}
row = partial(common_row, head_width=20, width=9)


def table(results: dict) -> str:
    """The results as text; a model's number that is better than every baseline carries a `*`."""
    codec, tasks = results["codec"]["means"], results["tasks"]
    lines = [results["title"], ""]
    for metric in _measured(codec):
        lines += [TITLES[metric] + _count(metric, results), *_block(tasks, codec, metric), ""]
    lines += [
        "PSNR of the given pixels, dB: the model's, and the codec's in either mode",
        row("", [*GIVEN_COLUMNS.values()]),
    ]
    for task, entry in tasks.items():
        lines.append(row(task, [_number(entry["means"][column]["psnr_given"], "psnr") for column in GIVEN_COLUMNS]))
    lines += ["", *_codec_lines(codec), "", *_alignment_lines(results["alignment"]), ""]
    return "\n".join([*lines, *_seeds_legend(results), LEGEND])


def _measured(codec: dict) -> list[str]:
    return [metric for metric in TITLES if metric in codec["video"]]


def _count(metric: str, results: dict) -> str:
    return f"; {len(results['clips'])} clips" if metric == "fvd" else ""


def _block(tasks: dict, codec: dict, metric: str) -> list[str]:
    """A column a method; a peer's, and those of several seeds, only where they were measured."""
    of_seeds = metric != "fvd" and all("of_seeds" in entry for entry in tasks.values())
    peers = [peer for peer in PEERS if any(peer in entry["means"] for entry in tasks.values())]
    heads = ["model", *(["mean", "best"] if of_seeds else []), *BASELINES, *peers, "codec"]
    lines = [row("", heads)]
    for task, entry in tasks.items():
        means = entry["means"]
        seeds = [_number(entry["of_seeds"][key][metric], metric) for key in ("mean", "best")] if of_seeds else []
        others = [means[name][metric] if name in means else math.nan for name in (*BASELINES, *peers)]
        cells = [_marked(means, metric), *seeds, *(_number(value, metric) for value in others)]
        lines.append(row(task, [*cells, _number(codec["video"][metric], metric)]))
    return lines


def _marked(means: dict, metric: str) -> str:
    sign = -1 if metric in LESS_IS_BETTER else 1
    ahead = [sign * (means["model"][metric] - means[name][metric]) for name in BASELINES if name in means]
    return _number(means["model"][metric], metric) + (" " if any(by <= 0 for by in ahead) else "*")


def _seeds_legend(results: dict) -> list[str]:
    count = results.get("settings", {}).get("seeds", 1)
    told = (
        f"mean, best: of {count} completions of each clip; each measure picks its own best. model is the first of them"
    )
    return [told] if count > 1 else []


def _codec_lines(codec: dict) -> list[str]:
    measured = _measured(codec)
    return [
        row("codec alone", [SHORT[metric] for metric in measured]),
        *(row(f"{mode} mode", [_number(codec[mode][m], m) for m in measured]) for mode in ("video", "image")),
    ]


def _alignment_lines(alignment: dict) -> list[str]:
    peak, slope = alignment["peak"], alignment["slope"]
    by_remainder = ", ".join(f"{share:.0%}" for share in peak["model"]["exact_by_remainder"])
    exact, distance = (tuple(peak[m][key] for m in ("model", "codec")) for key in ("exact", "mean_distance"))
    slopes = tuple(slope[method]["slope"] for method in ("model", "codec", "truth"))
    return [
        f"alignment, {alignment['clips']} clips that move most",
        "  highest PSNR at the very frame the image was given for: {:.0%} of cases (codec {:.0%})".format(*exact),
        f"  the same by that frame's remainder by the temporal stride, from 0: {by_remainder}",
        "  mean distance from that frame: {:.2f} frames (codec {:.2f})".format(*distance),
        "  slope of the curve's centroid against that frame: {:.2f} (codec {:.2f}, the real clip {:.2f})".format(
            *slopes
        ),
    ]


def _number(value: float, metric: str) -> str:
    return number(value, DIGITS.get(metric, 2))
