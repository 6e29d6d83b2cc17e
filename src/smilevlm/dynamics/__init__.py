"""Frames to one dynamic image."""

from smilevlm.dynamics.rank_pooling import approximate_rank_pooling, pool_stream, rank_pooling_coefficients

__all__ = ["approximate_rank_pooling", "pool_stream", "rank_pooling_coefficients"]
