"""The results as a table to read."""

from __future__ import annotations

import math

from bench_common.report import number, row

BASELINES = ("copy", "blend", "edges")
LEGEND = """\
* better than every baseline: copy (of the nearest given frame), blend (linear in time between given frames), edges
(the blend, where pixels that no frame gives take the nearest given pixel in space instead of the mean colour)"""
TITLES = {
    "psnr": "PSNR of the whole video, dB",
    "psnr_moving": "PSNR of moving pixels, dB",
    "ssim": "SSIM of the whole video",
}
GIVEN_COLUMNS = ("model", "codec_video", "codec_image")
DIGITS = {"ssim": 3}


def table(results: dict) -> str:
    """The results as text; a model's number that is better than every baseline carries a `*`."""
    codec = results["codec"]["means"]
    lines = [results["title"], ""]
    for metric, title in TITLES.items():
        rows = [
            row(task, [*_marked(entry["means"], metric), _number(codec["video"][metric], metric)])
            for task, entry in results["tasks"].items()
        ]
        lines += [row(title, ["model", *BASELINES, "codec"]), *rows, ""]
    lines.append(row("PSNR of the given pixels, dB", ["model", "codec, video", "codec, image"]))
    for task, entry in results["tasks"].items():
        lines.append(row(task, [_number(entry["means"][column]["psnr_given"], "psnr") for column in GIVEN_COLUMNS]))
    lines += ["", *_codec_lines(codec), "", *_alignment_lines(results["alignment"]), ""]
    return "\n".join([*lines, LEGEND])


def _marked(means: dict, metric: str) -> list[str]:
    model = means["model"][metric]
    baselines = [means[name][metric] if name in means else math.nan for name in BASELINES]
    mark = " " if any(model <= value for value in baselines) else "*"
    return [_number(model, metric) + mark, *(_number(value, metric) for value in baselines)]


def _codec_lines(codec: dict) -> list[str]:
    return [
        row("codec alone", ["PSNR", "moving", "SSIM"]),
        *(row(f"{mode} mode", [_number(codec[mode][m], m) for m in TITLES]) for mode in ("video", "image")),
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
