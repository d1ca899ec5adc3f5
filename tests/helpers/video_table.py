"""What the installed FFmpeg can write, as a table of clips: container x codec x groups of pictures x rate."""

from fractions import Fraction

from made_videos import Clip

FAST = {"preset": "veryfast"}
UNEVEN = [0, 40, 80, 290, 300, 310, 700, 740, 1400, 1420, *range(1500, 2700, 40)]  # milliseconds


def h264(gop: int, b_frames: int, **more: str) -> dict[str, str]:
    return {**FAST, "g": str(gop), "bf": str(b_frames), **more}


def hevc(gop: int, b_frames: int, open_gop: bool, more: str = "") -> dict[str, str]:
    params = f"log-level=none:pools=none:keyint={gop}:min-keyint={gop}:bframes={b_frames}:open-gop={int(open_gop)}"
    return {"preset": "ultrafast", "x265-params": params + more}


HIDDEN = {"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "7", "cpu-used": "4", "g": "24", "b": "300k"}
VPX = {"cpu-used": "8", "deadline": "realtime", "g": "12"}
AV1 = {"preset": "12", "g": "16", "svtav1-params": "lp=1"}
GOPS = {f"g{gop}_b{b}": h264(gop, b) for gop in (1, 2, 8, 250) for b in (0, 3) if gop > b or gop == 2}

TABLE: dict[str, Clip] = {
    **{f"h264_mp4_{name}": Clip("mp4", "libx264", options) for name, options in GOPS.items()},
    "h264_mp4_open": Clip("mp4", "libx264", h264(10, 3, **{"x264-params": "open-gop=1"})),
    "h264_mkv_open": Clip("mkv", "libx264", h264(10, 3, **{"x264-params": "open-gop=1"})),
    "h264_mp4_refresh": Clip("mp4", "libx264", h264(10, 0, **{"x264-params": "intra-refresh=1"})),
    "h264_ts_refresh": Clip("ts", "libx264", h264(10, 0, **{"x264-params": "intra-refresh=1"})),
    "h264_mp4_uneven": Clip("mp4", "libx264", h264(8, 2), times=UNEVEN),
    "h264_mp4_fragments": Clip("mp4", "libx264", h264(8, 2), muxer={"movflags": "frag_keyframe+empty_moov"}),
    "h264_mp4_live": Clip(
        "mp4", "libx264", h264(8, 2), muxer={"movflags": "frag_keyframe+empty_moov"}, live=True, container="mp4"
    ),
    "h264_mp4_negative": Clip("mp4", "libx264", h264(8, 2), muxer={"movflags": "negative_cts_offsets"}),
    "h264_mp4_no_edits": Clip("mp4", "libx264", h264(8, 2), muxer={"use_editlist": "0"}),
    "h264_mp4_ntsc": Clip("mp4", "libx264", h264(8, 2), rate=Fraction(30000, 1001)),
    "h264_mp4_fields": Clip("mp4", "libx264", h264(8, 2, **{"x264-params": "interlaced=1"})),
    "h264_ts_fields": Clip("ts", "libx264", h264(8, 2, **{"x264-params": "interlaced=1"})),
    "h264_mp4_444": Clip("mp4", "libx264", h264(8, 2), pixels="yuv444p"),
    "h264_mkv_10bit": Clip("mkv", "libx264", h264(8, 2), pixels="yuv420p10le"),
    "h264_mkv": Clip("mkv", "libx264", h264(8, 3)),
    "h264_mkv_live": Clip("mkv", "libx264", h264(8, 3), live=True, container="matroska"),
    "h264_mkv_uneven": Clip("mkv", "libx264", h264(8, 3), times=UNEVEN),
    "h264_mov": Clip("mov", "libx264", h264(8, 3)),
    "h264_avi": Clip("avi", "libx264", h264(8, 3)),
    "h264_avi_no_b": Clip("avi", "libx264", h264(8, 0)),
    "h264_flv": Clip("flv", "libx264", h264(8, 3)),
    "h264_ts": Clip("ts", "libx264", h264(8, 3)),
    "h264_ts_open": Clip("ts", "libx264", h264(8, 3, **{"x264-params": "open-gop=1"})),
    "h264_mts": Clip("m2ts", "libx264", h264(8, 3)),
    "h264_raw": Clip("h264", "libx264", h264(8, 3)),
    "h264_ps": Clip("mpg", "libx264", h264(8, 3), container="vob"),
    **{
        f"hevc_{suffix}_{'open' if open_gop else 'closed'}_g{gop}": Clip(suffix, "libx265", hevc(gop, 3, open_gop))
        for suffix, open_gop, gop in (
            ("mp4", False, 10),
            ("mp4", True, 10),
            ("mkv", True, 10),
            ("mkv", False, 10),
            ("ts", True, 10),
            ("mp4", True, 2),
            ("mp4", False, 2),
            ("mov", True, 10),
            ("hevc", True, 10),
        )
    },
    "hevc_mp4_10bit": Clip("mp4", "libx265", hevc(10, 3, True), pixels="yuv420p10le"),
    "vp8_webm": Clip("webm", "libvpx", VPX),
    "vp8_webm_hidden": Clip("webm", "libvpx", HIDDEN, frames=60),
    "vp8_webm_live": Clip("webm", "libvpx", VPX, live=True, container="webm"),
    "vp8_webm_live_hidden": Clip("webm", "libvpx", HIDDEN, frames=60, live=True, container="webm"),
    "vp8_mkv_hidden": Clip("mkv", "libvpx", HIDDEN, frames=60),
    "vp8_ivf_hidden": Clip("ivf", "libvpx", HIDDEN, frames=60),
    "vp8_avi": Clip("avi", "libvpx", VPX),
    "vp9_webm": Clip("webm", "libvpx-vp9", {**VPX, "cpu-used": "8"}),
    "vp9_webm_hidden": Clip("webm", "libvpx-vp9", HIDDEN, frames=60),
    "vp9_webm_live": Clip("webm", "libvpx-vp9", HIDDEN, frames=60, live=True, container="webm"),
    "vp9_mp4_hidden": Clip("mp4", "libvpx-vp9", HIDDEN, frames=60),
    "vp9_webm_uneven": Clip("webm", "libvpx-vp9", VPX, times=UNEVEN),
    "av1_mp4": Clip("mp4", "libsvtav1", AV1),
    "av1_mkv": Clip("mkv", "libsvtav1", AV1),
    "av1_webm_live": Clip("webm", "libsvtav1", AV1, live=True, container="webm"),
    "av1_ivf": Clip("ivf", "libsvtav1", AV1),
    "mpeg1_ps": Clip("mpg", "mpeg1video", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg2_ps": Clip("vob", "mpeg2video", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg2_ts": Clip("ts", "mpeg2video", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg2_mp4": Clip("mp4", "mpeg2video", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg2_mkv": Clip("mkv", "mpeg2video", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg2_raw": Clip("m2v", "mpeg2video", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg2_mxf": Clip("mxf", "mpeg2video", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg4_mp4": Clip("mp4", "mpeg4", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg4_avi": Clip("avi", "mpeg4", {"g": "10", "bf": "0", "b": "2M"}),
    "mpeg4_avi_b": Clip("avi", "mpeg4", {"g": "10", "bf": "2", "b": "2M"}),
    "mpeg4_mkv_b": Clip("mkv", "mpeg4", {"g": "10", "bf": "2", "b": "2M"}),
    "msmpeg4_avi": Clip("avi", "msmpeg4", {"g": "10", "b": "2M"}),
    "wmv2_asf": Clip("wmv", "wmv2", {"g": "10", "b": "2M"}),
    "prores_mov": Clip("mov", "prores_ks", pixels="yuv422p10le"),
    "prores_mkv": Clip("mkv", "prores_ks", pixels="yuv422p10le"),
    "ffv1_mkv": Clip("mkv", "ffv1"),
    "ffv1_avi": Clip("avi", "ffv1"),
    "ffv1_mkv_gop": Clip("mkv", "ffv1", {"g": "12", "context": "1"}),
    "huffyuv_avi": Clip("avi", "huffyuv", pixels="yuv422p"),
    "rawvideo_avi": Clip("avi", "rawvideo", pixels="yuv420p"),
    "y4m": Clip("y4m", "wrapped_avframe"),
    "mjpeg_avi": Clip("avi", "mjpeg", pixels="yuvj420p"),
    "mjpeg_mov": Clip("mov", "mjpeg", pixels="yuvj420p"),
    "mjpeg_mkv": Clip("mkv", "mjpeg", pixels="yuvj420p"),
    "mjpeg_raw": Clip("mjpeg", "mjpeg", pixels="yuvj420p"),
    "nut": Clip("nut", "mpeg4", {"g": "10", "bf": "2", "b": "2M"}),
    "gif": Clip("gif", "gif", pixels="rgb8", rate=Fraction(10)),
    "gif_uneven": Clip("gif", "gif", pixels="rgb8", times=[time // 10 for time in UNEVEN], tick=Fraction(1, 100)),
    "apng": Clip("apng", "apng", pixels="rgb24"),
    "apng_uneven": Clip("apng", "apng", pixels="rgb24", times=UNEVEN),
    "qtrle_mov": Clip("mov", "qtrle", pixels="rgb24"),
    "png_mov": Clip("mov", "png", pixels="rgb24"),
}
