"""The paper's three losses, each over the global batch, and their weighted sum; beside them the supervised baseline."""

from smilevlm.losses.barlow_twins import multi_view_barlow_twins
from smilevlm.losses.correlation import expected_if_unrelated, sampling_noise_floor
from smilevlm.losses.joint import JointLoss, JointLossSettings, LossTerms, PromptBank
from smilevlm.losses.prompt_bank import prompt_bank_alignment
from smilevlm.losses.redundancy import redundancy_minimization
from smilevlm.losses.supervised import SupervisedLoss, class_cross_entropy
from smilevlm.losses.vision_language import positives_from_groups, vision_language_alignment

__all__ = [
    "JointLoss",
    "JointLossSettings",
    "LossTerms",
    "PromptBank",
    "SupervisedLoss",
    "class_cross_entropy",
    "expected_if_unrelated",
    "multi_view_barlow_twins",
    "positives_from_groups",
    "prompt_bank_alignment",
    "redundancy_minimization",
    "sampling_noise_floor",
    "vision_language_alignment",
]
