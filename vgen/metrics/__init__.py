"""Per-sample and set-level metrics, and the baselines that they are read against."""

from vgen.metrics.alignment import CENTROID_WINDOW_DB, curve_centroid, curve_peak, least_squares_slope
from vgen.metrics.base import SampleMean, SampleMetric, SetMetric
from vgen.metrics.baselines import copy_nearest, extend_edges, linear_blend
from vgen.metrics.boxes import box_iou
from vgen.metrics.frechet import FVD_NAME, FrechetDistance, frechet_distance
from vgen.metrics.i3d import I3D
from vgen.metrics.kernel import KVD_NAME, kernel_distance
from vgen.metrics.linear_code import LinearCode
from vgen.metrics.perceptual import PerceptualDistance, StLpips
from vgen.metrics.pixels import MOVING_THRESHOLD, PSNR_CAP, moving_pixels, moving_psnr, psnr, psnr_curve, ssim

__all__ = [
    "CENTROID_WINDOW_DB",
    "FVD_NAME",
    "I3D",
    "KVD_NAME",
    "MOVING_THRESHOLD",
    "PSNR_CAP",
    "FrechetDistance",
    "LinearCode",
    "PerceptualDistance",
    "SampleMean",
    "SampleMetric",
    "SetMetric",
    "StLpips",
    "box_iou",
    "copy_nearest",
    "curve_centroid",
    "curve_peak",
    "extend_edges",
    "frechet_distance",
    "kernel_distance",
    "least_squares_slope",
    "linear_blend",
    "moving_pixels",
    "moving_psnr",
    "psnr",
    "psnr_curve",
    "ssim",
]
