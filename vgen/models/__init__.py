"""Models: where they are, and what they say of themselves without being loaded."""

from vgen.models.folders import (
    EGO,
    MISSING,
    STATE,
    check_part,
    component_folder,
    fingerprint,
    forget_places,
    installed,
    is_hub_id,
    join_own,
    loading,
    part_own,
    read_config,
    resolve,
)
from vgen.models.info import ModelInfo, PartInfo, rate_of
from vgen.models.training_range import LayoutRange, TrainingRange

__all__ = [
    "EGO",
    "MISSING",
    "STATE",
    "LayoutRange",
    "ModelInfo",
    "PartInfo",
    "TrainingRange",
    "check_part",
    "component_folder",
    "fingerprint",
    "forget_places",
    "installed",
    "is_hub_id",
    "join_own",
    "loading",
    "part_own",
    "rate_of",
    "read_config",
    "resolve",
]
