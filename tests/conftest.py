"""Fixtures that cost seconds are made once per session; tests that change files copy them first."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import numpy as np
import pytest

import isolation
from smilevlm.geometry import Mesh, NormaliseSettings
from smilevlm.views import ViewSettings

SMALL_SETTINGS = {"num_subjects": 2, "seed": 0, "levels": (4,), "texture_size": 64, "complete": True}
SMALL_SCAN_VERTICES = 2500
STORE_IMAGE_SIZE = 48


# The same examples each time, however slow the machine is at the moment.
hypothesis.settings.register_profile(
    "tests", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


def pytest_addoption(parser):
    parser.addoption(
        "--order-seed", type=int, help="run files, and the tests of each, in an order drawn from this seed"
    )


def pytest_collection_modifyitems(config, items):
    if (seed := config.getoption("--order-seed")) is not None:
        items[:] = isolation.shuffled(items, seed)


@pytest.fixture(autouse=True)
def _neither_takes_from_other_tests_nor_leaves_to_them():
    """Random numbers begin anew for each test; what a test changes of the process it puts back."""
    isolation.seed_all(0)
    before = isolation.process_state()
    yield
    assert isolation.changes(before, isolation.process_state()) == [], "left behind for the next test"


def small_bu3dfe_settings(**changes):
    from smilevlm.synthesis.bu3dfe import Bu3dfeSettings
    from smilevlm.synthesis.scanner import ScannerSettings

    return Bu3dfeSettings(**(SMALL_SETTINGS | {"scanner": ScannerSettings(num_vertices=SMALL_SCAN_VERTICES)} | changes))


@pytest.fixture(scope="session")
def make_small_settings():
    """`Bu3dfeSettings` of the small data set, with changes."""
    return small_bu3dfe_settings


@pytest.fixture(scope="session")
def synthetic_faces(tmp_path_factory) -> Path:
    """A complete synthetic BU-3DFE of two subjects, levels 0 and 4. Read only: copy it to change it."""
    from smilevlm.synthesis.bu3dfe import synthesize_bu3dfe

    root = tmp_path_factory.mktemp("synthetic") / "faces"
    assert synthesize_bu3dfe(root, small_bu3dfe_settings()) == 2
    return root


@pytest.fixture(scope="session")
def faces_of_four(tmp_path_factory) -> Path:
    """Cropped scans of four subjects. Read only."""
    from smilevlm.synthesis.bu3dfe import synthesize_bu3dfe

    root = tmp_path_factory.mktemp("four") / "faces"
    synthesize_bu3dfe(root, small_bu3dfe_settings(num_subjects=4, seed=3, complete=False))
    return root


@pytest.fixture(scope="session")
def store_of_four(faces_of_four, small_store_settings, tmp_path_factory) -> Path:
    """Four subjects as views of 48 pixels: enough to hold some back from training. Read only."""
    return prepare_bu3dfe(faces_of_four, tmp_path_factory.mktemp("four") / "store", small_store_settings)


@pytest.fixture(scope="session")
def small_store_settings():
    from smilevlm.store import PrepareSettings

    return PrepareSettings(views=ViewSettings(size=STORE_IMAGE_SIZE), normalise=NormaliseSettings())


@pytest.fixture(scope="session")
def prepared_store(synthetic_faces, small_store_settings, tmp_path_factory) -> Path:
    """The synthetic faces as views of 48 pixels. Read only: copy it to change it."""
    return prepare_bu3dfe(synthetic_faces, tmp_path_factory.mktemp("prepared") / "store", small_store_settings)


def prepare_bu3dfe(faces: Path, store: Path, settings) -> Path:
    from smilevlm.datasets import index_data_set
    from smilevlm.store import prepare

    prepare(index_data_set("bu3dfe", faces).recordings, store, settings, layout="bu3dfe", synthetic=True)
    return store


@pytest.fixture(scope="session")
def frontal_faces() -> dict[str, Mesh]:
    """Scans by expression whose true pose is frontal and whose true nose tip is the origin, millimetres."""
    from smilevlm.labels import NEUTRAL
    from smilevlm.synthesis.anatomy import anatomy
    from smilevlm.synthesis.expressions import draw_actions
    from smilevlm.synthesis.face_model import head_model
    from smilevlm.synthesis.people import draw_person
    from smilevlm.synthesis.scanner import ScannerSettings, scan_head

    model, places = head_model(), anatomy()
    rng = np.random.default_rng(11)
    person = draw_person(rng, sex="F", shape_changes=model.shape_changes, facial_actions=model.facial_actions)
    expressions = (NEUTRAL, "surprise", "happy")
    actions = [
        draw_actions(rng, person=person, expression=name, intensity=1.0, facial_actions=model.facial_actions)
        for name in expressions
    ]
    coarse = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=actions)
    faces = {}
    for name, vertices in zip(expressions, coarse, strict=True):
        head = (model.topology.refine @ vertices).astype(np.float32)
        head -= head[places.nose_tip]
        scan = scan_head(
            rng,
            vertices_mm=head,
            faces=model.topology.fine_faces,
            colors=np.full((len(head), 3), 128, np.float32),
            landmarks_mm=head[places.landmarks],
            settings=ScannerSettings(num_vertices=4000, pose_deg=0.0, offset_mm=0.0),
        )
        # `_pose` puts every head a little beside the scanner's axis; the landmarks say by how much.
        offset = scan.landmarks[0] - head[places.landmarks][0]
        faces[name] = Mesh(vertices=(scan.vertices - offset).astype(np.float32), faces=scan.triangles)
    return faces


@pytest.fixture(scope="session")
def frontal_face(frontal_faces) -> Mesh:
    return frontal_faces["neutral"]


@pytest.fixture(scope="session", autouse=True)
def _prompt_cache_of_its_own(tmp_path_factory):
    """Prompts embedded by tests do not reach the user's cache, and those there do not reach the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMILEVLM_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


TINY_OVERRIDES = (
    f"prepare.views.size={STORE_IMAGE_SIZE}",
    "num_folds=2",
    "optimiser.epochs=2",
    "optimiser.batch_size=4",
    "model.tower_settings.width=8",
    "model.projector.hidden_dim=32",
    "model.fusion.hidden_dim=8",
)


@pytest.fixture(scope="session")
def tiny_overrides() -> tuple[str, ...]:
    """What makes the demo recipe fit `prepared_store` and train in a second or two."""
    return TINY_OVERRIDES


@pytest.fixture(scope="session")
def make_tiny_config():
    """The demo recipe cut down, with further overrides."""
    from smilevlm.recipes import find_recipe
    from smilevlm.training.resolve import with_overrides

    return lambda *more: with_overrides(find_recipe("demo"), (*TINY_OVERRIDES, *more))


@pytest.fixture(scope="session")
def trained_run(prepared_store, make_tiny_config, tmp_path_factory) -> Path:
    """A run of both folds and one control, evaluated. Read only: copy it to change it."""
    from smilevlm.evaluation import evaluate_run
    from smilevlm.training.run import train_run

    run = tmp_path_factory.mktemp("trained") / "run"
    train_run(make_tiny_config(), prepared_store, run)
    evaluate_run(run, prepared_store, num_examples=2)
    return run


@pytest.fixture(scope="session", autouse=True)
def _no_word_about_compiling():
    """Whether a test is the first to need a loop does not show in what commands print."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smilevlm.compiled._SILENT_SECONDS", float("inf"))
        yield
