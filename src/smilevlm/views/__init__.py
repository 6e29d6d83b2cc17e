"""Mesh to images: an orthographic software renderer without display or GL."""

from smilevlm.views.render import ViewSettings, render_normalised, render_views

__all__ = ["ViewSettings", "render_normalised", "render_views"]
