"""Recipes of the tiny profile: a small tower trained from scratch, MiniLM as the frozen text tower, two CPU cores.

Small versions of the paper's recipes on synthetic faces. `smilevlm reproduce` makes the faces, trains and reports all;
one alone, with the prepared set of a study:
    Command: smilevlm train NAME --store study/data/DATA/store --out run --fold 0 --set num_control_folds=0
        smilevlm evaluate run --store study/data/DATA/store
    Hardware: one core, 4 GB of memory; float32, since processors differ in whether bfloat16 is fast or very slow
    Time: about 7,000 samples pass through training, so about a minute whatever the set
    Expected: docs/log.md has the figures of a whole study, three seeds; they are few people, and no figure is good to
        more than several points
"""

from __future__ import annotations

from dataclasses import replace

from smilevlm.augment import DistortionSettings
from smilevlm.geometry import NormaliseSettings
from smilevlm.losses import JointLossSettings
from smilevlm.models import ConvTowerSettings, ModelSettings
from smilevlm.store import PrepareSettings
from smilevlm.training import ExperimentConfig, OptimiserSettings, SamplerSettings
from smilevlm.views import ViewSettings

TINY_VIEWS = PrepareSettings(views=ViewSettings(size=64), normalise=NormaliseSettings())


def _tiny(
    name: str,
    protocol: str,
    *,
    epochs: int,
    width: int = 16,
    num_folds: int = 5,
    num_control_folds: int = 1,
    prompt_set: str = "basic_expressions",
) -> ExperimentConfig:
    return ExperimentConfig(
        name=name,
        protocol=protocol,
        num_folds=num_folds,
        num_control_folds=num_control_folds,
        prompt_set=prompt_set,
        prepare=TINY_VIEWS,
        model=ModelSettings(tower_settings=ConvTowerSettings(width=width)),
        loss=JointLossSettings(multi_view_scale=0.001, redundancy_scale=0.001),
        optimiser=OptimiserSettings(epochs=epochs, batch_size=32, learning_rate=2e-3),
        distortions=DistortionSettings(),
    )


def demo() -> ExperimentConfig:
    """BU-3DFE Subset I, weakly supervised, on two cores: a larger tower and more epochs than the tiny ones below.

    Command: make demo (synthetic people; folds 0 and 1 of 5 and one control)
    Hardware: 2 CPU cores, 4 GB of memory
    Time: 4 to 6 minutes per fold on one core, 80 people in training
    Expected: 80 to 86 % on synthetic people that it never saw, see docs/log.md
    """
    return _tiny("demo", "bu3dfe_subset1", epochs=18, width=32)


def few_labels() -> ExperimentConfig:
    """The demo with labels of four people: trained on all of them without labels first, then with the four's prompts.

    Linear probes of both phases are in the result. The baseline that the same four labels give by themselves:
    `--method supervised`, which begins with the same first phase unless `--set pretraining_epochs=0`.

    Command: smilevlm train few_labels --store store --out run --fold 0; smilevlm evaluate run --store store
    Hardware: 2 CPU cores, 4 GB of memory
    Time: about twice the demo's
    Expected: not measured yet
    """
    config = demo()
    return replace(
        config,
        name="few_labels",
        labelled_subjects=4,
        unlabelled_samples="all",
        pretraining_epochs=config.optimiser.epochs,
        num_control_folds=0,
        sampler=SamplerSettings(name="stratified"),
        loss=replace(config.loss, negatives="prompt_bank", multi_positive=True, positives="class"),
        # Some views as bad as a poor scan's and some missing, so that the fusion learns to weigh them.
        distortions=replace(config.distortions, pitch_mm=2.0, weak_degraded_share=0.35, view_dropout=0.1),
    )


def tiny_bu3dfe_subset1() -> ExperimentConfig:
    """Tiny version of paper_bu3dfe_subset1: 960 training scans of 80 people."""
    return _tiny("tiny_bu3dfe_subset1", "bu3dfe_subset1", epochs=8)


def tiny_bu3dfe_subset2() -> ExperimentConfig:
    """Tiny version of paper_bu3dfe_subset2: 1,920 training scans of 80 people, the weakest expressions among them."""
    return _tiny("tiny_bu3dfe_subset2", "bu3dfe_subset2", epochs=4)


def tiny_bosphorus() -> ExperimentConfig:
    """Tiny version of paper_bosphorus: one scan per person and class, and so all 105 people, for 56 in training."""
    return _tiny("tiny_bosphorus", "bosphorus", epochs=22)


def tiny_bu4dfe() -> ExperimentConfig:
    """Tiny version of paper_bu4dfe: 32 people in training."""
    return _tiny("tiny_bu4dfe", "bu4dfe", epochs=38)


def tiny_bp4d() -> ExperimentConfig:
    """Tiny version of paper_bp4d: 19 people in training, five in the test, eight classes."""
    return _tiny("tiny_bp4d", "bp4d", epochs=46, prompt_set="spontaneous_expressions")


def tiny_bp4d_cross() -> ExperimentConfig:
    """Tiny version of paper_bp4d_cross: trained on all of tiny_bu4dfe's set, tested on tiny_bp4d's; chance is 50 %."""
    return _tiny("tiny_bp4d_cross", "bp4d_cross", epochs=30, num_folds=1, num_control_folds=0)


def tiny_4dme() -> ExperimentConfig:
    """Tiny version of paper_4dme. In a study it begins with tiny_bu4dfe's weights (`start_from`), and so is short."""
    return _tiny("tiny_4dme", "fourdme", epochs=20, prompt_set="micro_expressions")


def tiny_4dme_multi_label() -> ExperimentConfig:
    """Tiny version of paper_4dme_multi_label, with the faces of tiny_4dme."""
    return replace(tiny_4dme(), name="tiny_4dme_multi_label", protocol="fourdme_multi_label")


def tiny_4dme_loso() -> ExperimentConfig:
    """Tiny version of paper_4dme_loso, with the faces of tiny_4dme: 24 people, 24 trainings."""
    return replace(tiny_4dme(), name="tiny_4dme_loso", protocol="fourdme_loso", num_folds=24, num_control_folds=0)


def tiny_losses() -> ExperimentConfig:
    """The study of the losses, with class prompts: seven classes of very varied synthetic people, 48 in training.

    A third of the clean views are as bad as a poor scan's and some are missing, so that the fusion learns to weigh
    them. The study sets the epochs, so that all its trainings have equally many steps.

    Command: smilevlm reproduce losses
    Expected: docs/losses.md
    """
    config = _tiny("tiny_losses", "folder", epochs=23, num_folds=3, num_control_folds=0)
    return replace(
        config,
        prompt_set="basic_expressions_neutral",
        prepare=PrepareSettings(
            views=ViewSettings(size=48),
            # Hair, ears and neck differ between scanners and face models. Assumption A54.
            normalise=NormaliseSettings(crop_depth_mm=85.0),
        ),
        model=ModelSettings(tower_settings=ConvTowerSettings(width=16, grid=2)),
        # Chosen on other populations, for every method alike: benchmarks/loss_settings.py. The scale is what a tenth of
        # the alignment's gradient comes to.
        loss=replace(
            config.loss,
            multi_positive=True,
            positives="class",
            negatives="prompt_bank",
            pairs="cross",
            head="embedding",
            multi_view_scale=0.0009,
            redundancy_scale=0.001,
        ),
        sampler=SamplerSettings(name="stratified"),
        optimiser=replace(config.optimiser, name="adamw", weight_decay=0.02),
        distortions=DistortionSettings(
            rotate_deg=8.0,
            scale=0.1,
            shift=0.04,
            noise=0.05,
            downsample_probability=0.2,
            dropout=0.05,
            hole=0.2,
            num_holes=2,
            pitch_mm=2.0,
            view_dropout=0.1,
            weak_strength=1.0,
            weak_degraded_share=0.35,
        ),
    )


def tiny_losses_captions() -> ExperimentConfig:
    """The same with a caption of the facial actions for half of the samples that have a class."""
    return replace(tiny_losses(), name="tiny_losses_captions", pairing="mixed")
