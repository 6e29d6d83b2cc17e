"""Frames to dynamic images: which frames are pooled, and how."""

from smilevlm.dynamics.apex import find_apex
from smilevlm.dynamics.exact import exact_rank_pooling
from smilevlm.dynamics.plan import DynamicPlan, plan_dynamic_images
from smilevlm.dynamics.pooling import MID_GREY, DynamicPools, to_display
from smilevlm.dynamics.rank_pooling import approximate_rank_pooling, pool_stream, rank_pooling_coefficients
from smilevlm.dynamics.settings import DynamicSettings

__all__ = [
    "MID_GREY",
    "DynamicPlan",
    "DynamicPools",
    "DynamicSettings",
    "approximate_rank_pooling",
    "exact_rank_pooling",
    "find_apex",
    "plan_dynamic_images",
    "pool_stream",
    "rank_pooling_coefficients",
    "to_display",
]
