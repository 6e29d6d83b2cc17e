"""Proposals without labels: what a teacher of known answers makes of samples, and which teachers are refused."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from smilevlm.errors import CheckpointError, LeakError, PromptError, SettingsError, StoreError
from smilevlm.geometry import NormaliseSettings
from smilevlm.models import (
    ConvTowerSettings,
    Embedded,
    FusionSettings,
    ModelBundle,
    ModelSettings,
    ProjectorSettings,
    TrainingProvenance,
    build_model,
    save_bundle,
)
from smilevlm.prompts import PromptEmbeddings
from smilevlm.store import Manifest, PrepareSettings
from smilevlm.training.initial_weights import check_initial_weights
from smilevlm.training.pseudo import (
    PseudoSettings,
    Teacher,
    TeacherIdentity,
    equally_frequent,
    load_teacher,
    mirrored,
    propose_classes,
    read_pairing_teacher,
)
from smilevlm.views import ViewSettings

CLASSES = ("happy", "sad", "fear", "angry")
DIM, SIZE = 8, 16
PREPARE = PrepareSettings(views=ViewSettings(size=SIZE), normalise=NormaliseSettings())
MANIFEST = Manifest(
    layout="bu3dfe",
    synthetic=True,
    settings=PREPARE,
    parts=(),
    subjects=(),
    num_samples=0,
    content_hash="store",
    skipped=(),
)
IDENTITY = TeacherIdentity(name="demo/fold_00", digest="abcdef", manifest_hash="5a11", synthetic=True)
KNOWN = TrainingProvenance(manifest_hash="elsewhere", subjects=("F0001", "F0002"), layout="bu3dfe", digests=("d" * 64,))


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(0)
    settings = ModelSettings(
        embedding_dim=DIM,
        tower_settings=ConvTowerSettings(width=8),
        projector=ProjectorSettings(hidden_dim=16),
        fusion=FusionSettings(hidden_dim=5),
    )
    return ModelBundle(
        model=build_model(settings).eval(),
        prompts=PromptEmbeddings(
            texts=CLASSES, classes=CLASSES, raw=np.eye(4, DIM, dtype=np.float32), mean=np.zeros(DIM, np.float32)
        ),
        text_digest="abc",
        text_tower="minilm",
        classes=CLASSES,
        prepare=PREPARE,
        temperature=0.07,
        synthetic=True,
        trained_on=KNOWN,
    )


@pytest.fixture
def teacher_of(bundle, monkeypatch):
    """A teacher whose cosines with the classes are given, one row per sample; red values number the samples."""

    def make(cosines) -> tuple[Teacher, np.ndarray]:
        cosines = np.asarray(cosines, np.float64)
        rest = np.sqrt(1 - (cosines**2).sum(axis=1, keepdims=True))
        embeddings = np.concatenate([cosines, rest, np.zeros((len(cosines), DIM - 5))], axis=1).astype(np.float32)

        def embed(self, images, *, batch_size=64):
            del self, batch_size
            number = images[:, 0].max(axis=(1, 2, 3)).astype(int)
            return Embedded(
                features=embeddings[number][:, None],
                z_views=embeddings[number][:, None],
                z_fused=embeddings[number],
                view_weights=np.ones((len(images), 1), np.float32),
            )

        monkeypatch.setattr(ModelBundle, "embed", embed)
        images = np.zeros((len(cosines), 3, SIZE, SIZE, 3), np.uint8)
        images[..., 0] = np.arange(len(cosines))[:, None, None, None]
        return Teacher(bundle=bundle, identity=IDENTITY), images

    return make


def settings(**values) -> PseudoSettings:
    return PseudoSettings(**{"balance": "none", "min_confidence": 0.0, "temperature": 0.1, **values})


def one_hot(classes, strength=0.5) -> np.ndarray:
    return strength * np.eye(4)[list(classes)]


def test_the_teachers_word(teacher_of):
    proposed = propose_classes(*teacher_of(one_hot([2, 0, 0, 1])), CLASSES, settings())
    assert proposed.classes == ("fear", "happy", "happy", "sad")
    assert proposed.proposed == proposed.kept == {"happy": 2, "sad": 1, "fear": 1, "angry": 0}
    expected = np.exp(5) / (np.exp(5) + 3)
    assert proposed.confidence == pytest.approx([expected] * 4)
    assert proposed.teacher == IDENTITY


def test_uncertain_samples_get_no_prompt(teacher_of):
    cosines = np.concatenate([one_hot([0, 1]), one_hot([2, 3], strength=0.05)])
    teacher, images = teacher_of(cosines)
    proposed = propose_classes(teacher, images, CLASSES, settings(min_confidence=0.5))
    assert proposed.classes == ("happy", "sad", None, None)
    assert proposed.proposed == {"happy": 1, "sad": 1, "fear": 1, "angry": 1}
    assert proposed.kept == {"happy": 1, "sad": 1, "fear": 0, "angry": 0}
    with pytest.raises(SettingsError, match=r"surer than 0\.5 of none of 4 samples \(at most 0\.26\)"):
        propose_classes(teacher, images, CLASSES, settings(min_confidence=0.5, temperature=10))


def test_a_cap_keeps_the_most_confident_of_a_class(teacher_of):
    cosines = one_hot([0] * 6 + [1, 2]) * np.array([0.2, 0.9, 0.3, 0.8, 0.4, 0.5, 0.1, 0.1])[:, None]
    proposed = propose_classes(*teacher_of(cosines), CLASSES, settings(balance="cap"))
    assert proposed.classes == (None, "happy", None, "happy", None, None, "sad", "fear")
    assert proposed.proposed["happy"] == 6
    assert proposed.kept == {"happy": 2, "sad": 1, "fear": 1, "angry": 0}


def test_balance_undoes_a_teachers_leaning(teacher_of):
    """A teacher that sees one class everywhere on strange faces, a little less where it is another."""
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 4
    cosines = 0.3 * np.eye(4)[truth] + rng.normal(0, 0.03, (200, 4)) + np.array([0.25, 0, 0, 0])
    teacher, images = teacher_of(cosines)
    right = {
        balance: np.mean(
            [
                name == CLASSES[number]
                for name, number in zip(
                    propose_classes(teacher, images, CLASSES, settings(balance=balance)).classes, truth, strict=True
                )
            ]
        )
        for balance in ("none", "sinkhorn")
    }
    assert right["none"] < 0.95
    assert right["sinkhorn"] > 0.99


def test_equally_frequent_classes():
    shares = np.random.default_rng(0).dirichlet([4, 1, 1, 0.3], size=300)
    shares[0] = [1, 0, 0, 0]
    balanced = equally_frequent(shares)
    np.testing.assert_allclose(balanced.sum(axis=1), 1)
    np.testing.assert_allclose(balanced.sum(axis=0), 75, rtol=1e-3)
    # Within a row and between rows the order of two classes' ratio stays: only classes are rescaled.
    ratio = np.log(balanced[1:] / shares[1:])
    np.testing.assert_allclose(ratio - ratio[:, :1], np.tile((ratio - ratio[:, :1])[0], (299, 1)), atol=1e-9)
    np.testing.assert_allclose(equally_frequent(np.full((8, 4), 0.25)), 0.25)


def test_both_mirror_images_are_asked(teacher_of):
    """The fake teacher looks at the left view alone: mirroring brings the right one there."""
    teacher, images = teacher_of([[0.4, 0, 0, 0], [0, 0.6, 0, 0]])
    images = images[:1].copy()
    images[0, 2, ..., 0] = 1
    assert propose_classes(teacher, images, CLASSES, settings(mirror=False)).classes == ("happy",)
    both = propose_classes(teacher, images, CLASSES, settings())
    assert both.classes == ("sad",)
    expected = np.exp([2.0, 3.0, 0, 0])
    assert both.confidence == pytest.approx([expected[1] / expected.sum()])


def test_mirrored_views():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 6, 3), np.uint8)
    turned = mirrored(images, ViewSettings(size=SIZE))
    np.testing.assert_array_equal(turned[:, 0], images[:, 2, :, ::-1])
    np.testing.assert_array_equal(turned[:, 1], images[:, 1, :, ::-1])
    np.testing.assert_array_equal(mirrored(turned, ViewSettings(size=SIZE)), images)
    with pytest.raises(SettingsError, match=r"pseudo\.mirror needs view angles symmetric about 0"):
        mirrored(images, ViewSettings(size=SIZE, angles_deg=(0.0, 15.0, 30.0)))


def test_mirrored_normals_point_to_the_other_side():
    images = np.zeros((1, 3, 1, 2, 3), np.uint8)
    images[0, 1, 0, 0] = (200, 10, 20)
    turned = mirrored(images, ViewSettings(size=SIZE, kind="normals"))
    assert turned[0, 1, 0].tolist() == [[0, 0, 0], [55, 10, 20]]
    assert not turned[0, [0, 2]].any()


def test_only_the_protocols_classes_are_proposed(teacher_of):
    teacher, images = teacher_of([[0.2, 0.1, 0.5, 0]])
    assert propose_classes(teacher, images, ("sad", "happy"), settings()).classes == ("happy",)
    with pytest.raises(PromptError, match="no prompts for pain; it knows happy, sad, fear, angry"):
        propose_classes(teacher, images, ("happy", "pain"), settings())


@pytest.mark.parametrize(
    "values", [{"temperature": 0.0}, {"temperature": float("nan")}, {"min_confidence": 1.0}, {"min_confidence": -0.1}]
)
def test_settings_out_of_range(values):
    with pytest.raises(SettingsError, match=rf"pseudo\.{next(iter(values))}"):
        PseudoSettings(**values)


@pytest.fixture
def saved(bundle, tmp_path):
    def save(**changes):
        run = tmp_path / "run"
        for fold in ("fold_00", "fold_01"):
            save_bundle(replace(bundle, **changes), run / fold)
        return run

    return save


def test_a_run_stands_for_its_first_fold(saved):
    run = saved()
    teacher = load_teacher(PseudoSettings(teacher=str(run)), MANIFEST)
    assert teacher.identity.name == "run/fold_00"
    assert (teacher.identity.manifest_hash, teacher.identity.synthetic) == ("elsewhere", True)
    of_fold = load_teacher(PseudoSettings(teacher=str(run / "fold_01")), MANIFEST)
    assert of_fold.identity.name == "run/fold_01"
    assert of_fold.identity.digest == teacher.identity.digest
    assert len(teacher.identity.digest) == 64


def test_no_teacher_is_not_a_teacher(tmp_path):
    with pytest.raises(SettingsError, match=r"set pseudo\.teacher"):
        load_teacher(PseudoSettings(), MANIFEST)
    for missing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(CheckpointError):
            load_teacher(PseudoSettings(teacher=str(missing)), MANIFEST)


def test_a_teacher_of_unknown_people_is_refused(saved):
    with pytest.raises(CheckpointError, match="does not say whom it was trained on"):
        load_teacher(PseudoSettings(teacher=str(saved(trained_on=None))), MANIFEST)


def test_a_teacher_of_other_views_is_refused(saved):
    larger = replace(MANIFEST, settings=replace(PREPARE, views=ViewSettings(size=32)))
    with pytest.raises(StoreError, match=r"views\.size is 32, there it was 16"):
        load_teacher(PseudoSettings(teacher=str(saved())), larger)


PEOPLE = replace(MANIFEST, synthetic=False)
FOLDER = replace(PEOPLE, layout="folder")


@pytest.mark.parametrize(
    ("changes", "manifest", "digests", "leaks"),
    [
        ({"trained_on": replace(KNOWN, manifest_hash="store")}, MANIFEST, [], True),
        ({}, MANIFEST, [], False),
        ({}, MANIFEST, ["d" * 64], True),
        ({}, MANIFEST, ["e" * 64, ""], False),
        # The same names in one real data set's layout are the same people, however the set was prepared.
        ({"synthetic": False}, PEOPLE, [], True),
        ({"synthetic": True}, PEOPLE, [], False),
        ({"synthetic": False}, replace(PEOPLE, layout="bosphorus"), [], False),
        (
            {"synthetic": False, "trained_on": replace(KNOWN, layout="folder")},
            replace(PEOPLE, layout="folder"),
            [],
            False,
        ),
    ],
)
def test_a_teacher_that_knows_test_subjects_is_refused(saved, changes, manifest, digests, leaks):
    teacher = load_teacher(PseudoSettings(teacher=str(saved(**changes))), manifest).bundle
    with pytest.raises(LeakError, match=r"F0002|1 test samples") if leaks else nullcontext():
        check_initial_weights(teacher, "pseudo.teacher", manifest, ["F0002", "F0009"], test_digests=digests)
    check_initial_weights(teacher, "pseudo.teacher", manifest, ["F0009"])


@pytest.fixture
def kept_proposals(teacher_of, tmp_path):
    proposed = propose_classes(*teacher_of(one_hot([0, 1, 1], 0.4)), CLASSES, settings())

    def write(fold: int, **changes):
        path = tmp_path / f"{fold}.json"
        path.write_text(json.dumps(asdict(replace(proposed, **changes))))
        return path

    return write


def test_the_result_says_what_the_folds_were_trained_on(kept_proposals):
    some = ("happy", None, None)
    files = {
        2: kept_proposals(2, classes=some, kept={"happy": 1}),
        0: kept_proposals(0),
    }
    teacher = read_pairing_teacher(files)
    assert teacher.description == "demo/fold_00 (abcdef, trained on synthetic faces)"
    assert [(each.fold, each.num_samples) for each in teacher.proposals] == [(0, 3), (2, 3)]
    assert teacher.proposals[0].kept == {"happy": 1, "sad": 2, "fear": 0, "angry": 0}
    assert teacher.proposals[1].kept == {"happy": 1}


def test_folds_of_two_teachers_are_refused(kept_proposals):
    files = {0: kept_proposals(0), 1: kept_proposals(1, teacher=replace(IDENTITY, digest="123456"))}
    with pytest.raises(CheckpointError, match="different teachers"):
        read_pairing_teacher(files)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"teacher": {}}'])
def test_damaged_proposals_are_named(tmp_path, text):
    (tmp_path / "0.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"0\.json is damaged"):
        read_pairing_teacher({0: tmp_path / "0.json"})
    with pytest.raises(CheckpointError, match=r"1\.json is missing"):
        read_pairing_teacher({1: tmp_path / "1.json"})
