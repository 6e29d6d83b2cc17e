"""Mesh to images: an orthographic software renderer without display or GL."""

from smilevlm.views.render import VIEW_KINDS, ViewSettings, render_normalised, render_views

__all__ = ["VIEW_KINDS", "ViewSettings", "render_normalised", "render_views"]
