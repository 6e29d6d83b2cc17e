"""3D and 4D facial expressions: scans to views, views to embeddings, embeddings to words."""

__version__ = "0.1.0"
