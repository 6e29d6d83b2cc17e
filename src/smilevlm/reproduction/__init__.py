"""`smilevlm reproduce`: what a study needs, made or resumed, and the file that says what belongs to it."""

from smilevlm.reproduction.losses import LossStudyRequest, run_loss_study
from smilevlm.reproduction.plan import StudyRequest
from smilevlm.reproduction.study import run_study

__all__ = ["LossStudyRequest", "StudyRequest", "run_loss_study", "run_study"]
