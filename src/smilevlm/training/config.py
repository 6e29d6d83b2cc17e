"""The complete description of an experiment: everything that decides its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from smilevlm.augment.distortions import DistortionSettings
from smilevlm.datasets import find_protocol
from smilevlm.errors import SettingsError
from smilevlm.geometry import NormaliseSettings
from smilevlm.losses import JointLossSettings
from smilevlm.models import ModelSettings
from smilevlm.prompts import PairingMode
from smilevlm.results import Monitor
from smilevlm.store import PrepareSettings
from smilevlm.training.pseudo import PseudoSettings
from smilevlm.training.sampling import SamplerSettings
from smilevlm.views import ViewSettings


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """How the weights are found.

    Args:
        name: `adam` adds the weight decay to the gradient, `adamw` takes it from the weights.
        epochs: Passes over the training subjects; 0 leaves the weights as they come, as a baseline.
        batch_size: Samples per step over all processes; each has several views and, with the multi-view loss, two
            distortions of each. The losses are over this batch, however it is divided.
        micro_batch_size: Samples that one process takes through the tower at a time; None for its whole share. Where it
            is smaller the step is the same, to rounding: the tower's features are cached and its gradients follow from
            theirs. Needs a tower without batch statistics.
        learning_rate: Highest rate; it rises linearly over `warmup_share` of the steps and falls as a cosine.
        tower_learning_rate: The same for the image tower; None for `learning_rate`. Towers that come trained want a
            hundredth or less.
        weight_decay: For the matrices of tower and projector. Assumption A17.
        warmup_share: Share of all steps, in [0, 1).
        clip_norm: Largest norm of the gradient over all weights; None leaves it alone.
        ema_decay: Of the moving average of the weights, which is then the model that is kept; None keeps the last
            weights. It rises to this value: after n steps it is at most (1 + n) / (10 + n), since the first weights
            would otherwise stay in the average for about 1 / (1 - ema_decay) steps. Assumption A34.
        precision: `bf16` uses autocast; the correlations stay in float32.
        threads: CPU threads of one training process; part of what fixes the bits.
        compile: Compile the tower; needs a C++ compiler, or a GPU with Triton.
    """

    name: Literal["adam", "adamw"] = "adam"
    epochs: int = 30
    batch_size: int = 32
    micro_batch_size: int | None = None
    learning_rate: float = 1e-3
    tower_learning_rate: float | None = None
    weight_decay: float = 1e-4
    warmup_share: float = 0.05
    clip_norm: float | None = None
    ema_decay: float | None = None
    precision: Literal["float32", "bf16"] = "float32"
    threads: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 2 or self.threads < 1:
            raise SettingsError("epochs must not be negative, threads at least 1, batch_size at least 2")
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 <= self.warmup_share < 1):
            raise SettingsError("learning_rate must be positive, weight_decay not negative, warmup_share in [0, 1)")
        if self.tower_learning_rate is not None and not self.tower_learning_rate > 0:
            raise SettingsError(f"tower_learning_rate is {self.tower_learning_rate}; expected a positive number")
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise SettingsError(f"micro_batch_size is {self.micro_batch_size}; expected 1 or more")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise SettingsError(f"clip_norm is {self.clip_norm}; expected a positive number")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise SettingsError(f"ema_decay is {self.ema_decay}; expected a number between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """Which training subjects are held back to choose an epoch. Test subjects never are.

    Args:
        share: Of the training subjects, rounded, at least one; 0 trains on all and keeps the last epoch.
        monitor: `accuracy` of classification by prompts, which reads the labels of these subjects; `loss` does not.
        patience: Epochs without a better value after which training ends; None trains all epochs. The best epoch is
            kept in either case.
        calibrate: Whether the temperature of the probabilities, shown and scored, is fitted to these subjects' labels,
            in place of `score_temperature`. It moves no answer, only how sure it is said to be. Assumption A51.
    """

    share: float = 0.0
    monitor: Monitor = "loss"
    patience: int | None = None
    calibrate: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise SettingsError(f"validation.share is {self.share}; expected 0 to below 1")
        if self.patience is not None and self.patience < 1:
            raise SettingsError(f"validation.patience is {self.patience}; expected 1 or more")
        if self.patience is not None and not self.share:
            raise SettingsError("validation.patience needs held-back subjects: set validation.share above 0")
        if self.calibrate and not self.share:
            raise SettingsError("validation.calibrate needs held-back subjects: set validation.share above 0")


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """A recipe, resolved.

    Args:
        name: Of the recipe.
        method: What is trained: `full`, or the ablation or baseline that the recipe was changed to.
        protocol: Which samples are used, see `smilevlm.datasets.PROTOCOLS`.
        num_folds: Subject-independent folds; for leaving one subject out the number of subjects, 1 where the protocol
            tests on another data set than it trains on.
        repeat: Which of the protocol's repeats this run is, from zero.
        prompt_set: Name or path of the prompt set.
        text_tower: `minilm`, or a CLIP model by hub id or local folder; frozen.
        centre_prompts: Take the mean of the prompts' embeddings out. Assumption A5.
        pairing: Where a sample's prompt comes from; `labels` trains the supervised baseline instead, without prompts.
        caption_share: In pairing `mixed`, the probability that a sample with a class and recorded actions gets a
            caption and not a prompt of its class.
        captions_per_sample: In pairings `actions` and `mixed`: captions that are drawn for a sample before training,
            one of which it gets at a time.
        labelled_subjects: Training subjects whose samples get prompts: so many of each fold, drawn by the seed (those
            of a smaller number are among those of a larger one), or their names. The samples of all others count in
            the multi-view loss alone; where there is none they are left out. None for all. Assumption A62.
        unlabelled_samples: Samples of no class or another one that the multi-view loss sees beside those of the
            protocol: `none`; `protocol`, those of the training subjects that only their class keeps out of the
            protocol; `all`, every other sample of the store whose subject the fold neither tests nor holds back.
            Assumption A62.
        pretraining_epochs: Epochs before the others in which the multi-view loss alone is trained, on the same samples
            without any label; 0 for none. Assumption A63.
        num_control_folds: So many of the first folds are trained a second time with prompts dealt out anew at
            random; accuracy must fall to chance there.
        shuffle_prompts: The control itself, as a run of its own: samples get the prompts of other samples.
        seed: Decides folds, weights, batches, distortions and prompts.
        score_temperature: Of the softmax that turns the trained model's cosines into probabilities, where
            `validation.calibrate` fits none. Not the one of the alignment loss, `loss.temperature`, nor that of the
            teacher, `pseudo.temperature`.
        abstain_threshold: Where the highest of them is lower, the answer is shown as "not sure". Assumption A52.
        prepare: How the views are made; a store made otherwise is refused.
        model: Architecture.
        loss: Weights of the joint loss.
        optimiser: How the weights are found.
        sampler: Which samples make a batch.
        start_from: Run folder or fold folder of a model of the same architecture to begin with; None for fresh
            weights, those of a pretrained tower aside.
        validation: Which subjects choose the epoch.
        pseudo: Where prompts come from in pairing `pseudo`.
        distortions: The two distortions and the jitter of the clean views.
    """

    name: str
    protocol: str
    method: str = "full"
    num_folds: int = 10
    repeat: int = 0
    prompt_set: str = "basic_expressions"
    text_tower: str = "minilm"
    centre_prompts: bool = True
    pairing: PairingMode = "class"
    caption_share: float = 0.5
    captions_per_sample: int = 8
    labelled_subjects: int | tuple[str, ...] | None = None
    unlabelled_samples: Literal["none", "protocol", "all"] = "none"
    pretraining_epochs: int = 0
    num_control_folds: int = 1
    shuffle_prompts: bool = False
    seed: int = 0
    score_temperature: float = 0.07
    abstain_threshold: float = 0.0
    start_from: str | None = None
    prepare: PrepareSettings = field(
        default_factory=lambda: PrepareSettings(views=ViewSettings(), normalise=NormaliseSettings())
    )
    model: ModelSettings = field(default_factory=ModelSettings)
    loss: JointLossSettings = field(default_factory=JointLossSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    sampler: SamplerSettings = field(default_factory=SamplerSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    pseudo: PseudoSettings = field(default_factory=PseudoSettings)
    distortions: DistortionSettings = field(default_factory=DistortionSettings)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise SettingsError(f"seed is {self.seed}; expected 0 or more")
        elsewhere = find_protocol(self.protocol).train_on is not None
        if elsewhere and self.num_folds != 1:
            raise SettingsError(f"protocol {self.protocol} tests on another data set: it has one fold; set num_folds=1")
        if self.num_folds < 2 and not elsewhere:
            raise SettingsError(f"num_folds is {self.num_folds}; expected 2 or more")
        if not 0 <= self.caption_share <= 1:
            raise SettingsError(f"caption_share is {self.caption_share}; expected 0 to 1")
        if self.captions_per_sample < 1:
            raise SettingsError(f"captions_per_sample is {self.captions_per_sample}; expected 1 or more")
        reads_labels = self.pairing in ("class", "labels", "mixed")
        if not reads_labels and self.validation.share and self.validation.monitor == "accuracy":
            raise SettingsError(
                f"validation.monitor=accuracy reads labels, but pairing {self.pairing!r} is reported as label-free; "
                "use validation.monitor=loss"
            )
        if not reads_labels and self.validation.calibrate:
            raise SettingsError(f"validation.calibrate reads labels, but pairing {self.pairing!r} is label-free")
        self._check_labels()
        if not 0 <= self.abstain_threshold < 1:
            raise SettingsError(f"abstain_threshold is {self.abstain_threshold}; expected 0 to below 1")
        if not 0 <= self.num_control_folds <= self.num_folds:
            raise SettingsError(f"num_control_folds is {self.num_control_folds}; expected 0 to {self.num_folds}")
        if not self.score_temperature > 0:
            raise SettingsError(f"score_temperature is {self.score_temperature}; expected a positive number")

    @property
    def all_paired(self) -> bool:
        """Whether every training sample has a prompt."""
        return self.pairing != "pseudo" and self.labelled_subjects is None and self.unlabelled_samples == "none"

    @property
    def uses_unpaired(self) -> bool:
        """Whether a loss of the main phase sees samples without a prompt."""
        return self.pairing != "labels" and self.loss.alpha > 0

    def _check_labels(self) -> None:
        if self.pretraining_epochs < 0:
            raise SettingsError(f"pretraining_epochs is {self.pretraining_epochs}; expected 0 or more")
        wanted = self.labelled_subjects
        if wanted == () or (isinstance(wanted, int) and wanted < 1):
            raise SettingsError(f"labelled_subjects is {wanted}; expected 1 or more, or their names")
        if self.labelled_subjects is not None and self.pairing in ("pseudo", "generic"):
            raise SettingsError(f"labelled_subjects is set, but pairing {self.pairing!r} reads no label")
        if self.sampler.name == "stratified" and self.pairing == "generic":
            raise SettingsError("sampler.name=stratified balances classes, but pairing 'generic' has none")
        if self.loss.negatives == "prompt_bank" and self.pairing == "generic":
            raise SettingsError("loss.negatives=prompt_bank needs several prompts; pairing 'generic' has one")
