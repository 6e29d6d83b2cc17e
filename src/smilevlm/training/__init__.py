"""Optimisation, the folds of a recipe, and their evaluation. Import the modules; this room pulls in torch."""
