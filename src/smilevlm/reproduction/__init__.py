"""`smilevlm reproduce`: what a study needs, made or resumed, and the file that says what belongs to it."""

from smilevlm.reproduction.plan import StudyRequest
from smilevlm.reproduction.study import run_study

__all__ = ["StudyRequest", "run_study"]
