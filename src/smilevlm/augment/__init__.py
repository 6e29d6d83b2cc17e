"""Distortions of rendered views, for self-supervised training: see `Distortions`."""

from smilevlm.augment.distortions import Distortions, DistortionSettings

__all__ = ["DistortionSettings", "Distortions"]
