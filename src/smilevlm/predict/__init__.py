"""Scan in, answer out."""

from smilevlm.predict.model import Answer, Model, load

__all__ = ["Answer", "Model", "load"]
