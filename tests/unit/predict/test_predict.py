"""Scan in, answer out: the same as store and bundle give, whatever the file format and unit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import smilevlm
from smilevlm.datasets import index_data_set
from smilevlm.errors import CheckpointError, MeshError, PromptError, SettingsError
from smilevlm.geometry import Mesh
from smilevlm.labels import BASIC_EXPRESSIONS
from smilevlm.models import probabilities, zero_shot_scores
from smilevlm.predict import Model, Prediction, load
from smilevlm.readers import read_mesh, write_mesh
from smilevlm.store import FrameFile, PreparedSet, Recording, prepare

WORDS = {"pain": ["a face in pain"], "calm": ["a calm face", "a face at rest"], "tired": ["a sleepy face"]}


@pytest.fixture(scope="module")
def model(trained_run) -> Model:
    return load(trained_run)


@pytest.fixture(scope="module")
def scans(synthetic_faces) -> list[Path]:
    return [record.path for record in index_data_set("bu3dfe", synthetic_faces).recordings]


@pytest.fixture(scope="module")
def scan(scans) -> Path:
    return next(path for path in scans if "_HA" in path.name)


def sphere() -> Mesh:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(4000, 3))
    return Mesh(vertices=(90 * points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32))


def test_an_answer(model, scan):
    answer = model.predict(scan)
    assert tuple(answer.probabilities) == BASIC_EXPRESSIONS
    assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-9)
    assert answer.probabilities[answer.label] == max(answer.probabilities.values())
    assert tuple(answer.view_weights) == (-30.0, 0.0, 30.0)
    assert sum(answer.view_weights.values()) == pytest.approx(1, abs=1e-5)
    assert answer.views.shape == (3, 48, 48, 3)
    assert answer.views.dtype == np.uint8
    assert answer.face.unit == "mm"
    assert all(type(share) is float for share in answer.probabilities.values())


def test_a_file_and_its_mesh_give_the_same(model, scan):
    by_path, by_text, by_mesh = model.predict(scan), model.predict(str(scan)), model.predict(read_mesh(scan))
    assert by_path.probabilities == by_text.probabilities == by_mesh.probabilities
    np.testing.assert_array_equal(by_path.views, by_mesh.views)


def test_the_store_has_the_same_views_and_the_bundle_the_same_answer(model, scan, prepared_store):
    prepared = PreparedSet(prepared_store)
    name = scan.name.removesuffix("_F3D.wrl")
    index = next(i for i, sample in enumerate(prepared.samples) if sample.sample_id == name)
    answer = model.predict(scan)
    np.testing.assert_array_equal(answer.views, prepared.images(index))
    embedded = model.bundle.embed(prepared.load_images([index]))
    scores = zero_shot_scores(embedded.z_fused, model.bundle.prototypes)
    expected = probabilities(scores, model.bundle.temperature)[0]
    np.testing.assert_array_equal(list(answer.probabilities.values()), expected)
    np.testing.assert_allclose(list(answer.view_weights.values()), embedded.view_weights[0], atol=1e-7)


def test_a_list_gives_a_list_in_its_order(model, scans):
    together = model.predict(scans[:3])
    assert isinstance(together, list)
    for answer, path in zip(together, scans[:3], strict=True):
        alone = model.predict(path)
        np.testing.assert_array_equal(answer.views, alone.views)
        np.testing.assert_allclose(list(answer.probabilities.values()), list(alone.probabilities.values()), atol=1e-5)
    (single,) = model.predict([scans[0]])
    assert single.label == model.predict(scans[0]).label
    assert model.predict((scans[0], read_mesh(scans[1])))[1].label == together[1].label
    assert model.predict([]) == []


def test_classes_of_one_s_own(model, scan):
    answer = model.predict(scan, prompts=WORDS)
    assert tuple(answer.probabilities) == tuple(WORDS)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    other_order = model.predict(scan, prompts=dict(reversed(WORDS.items())))
    assert other_order.label == answer.label
    assert dict(other_order.probabilities) == pytest.approx(dict(answer.probabilities))
    assert model.predict(scan, prompts={"anything": ["a face"]}).probabilities == {"anything": 1.0}


def test_the_trained_prompts_typed_again_give_the_trained_answer(model, scan):
    prompts = model.bundle.prompts
    typed = {
        name: [text for text, owner in zip(prompts.texts, prompts.classes, strict=True) if owner == name]
        for name in model.bundle.classes
    }
    again, trained = model.predict(scan, prompts=typed), model.predict(scan)
    np.testing.assert_allclose(list(again.probabilities.values()), list(trained.probabilities.values()), atol=1e-5)


@pytest.mark.parametrize("prompts", [{}, {"pain": []}, {"pain": ["a face in pain"], "calm": ()}])
def test_no_words_are_refused(model, scan, prompts):
    with pytest.raises(PromptError):
        model.predict(scan, prompts=prompts)


@pytest.mark.parametrize("prompts", [{"pain": "a face in pain", "calm": ["calm"]}, {"pain": [""]}, {"pain": ["  "]}])
def test_words_that_are_no_list_of_texts_are_refused(model, scan, prompts):
    with pytest.raises(PromptError):
        model.predict(scan, prompts=prompts)


def test_words_of_another_text_tower_are_refused(model, scan):
    other = Model(replace(model.bundle, text_digest="another"))
    with pytest.raises(CheckpointError, match="text tower"):
        other.predict(scan, prompts=WORDS)
    assert other.predict(scan).label == model.predict(scan).label, "the trained classes need no text tower"


def test_embeddings_have_unit_length(model, scans):
    embedded = model.embed(scans[:3])
    assert embedded.shape == (3, 384)
    assert embedded.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.embed([read_mesh(scans[1])])[0], embedded[1], atol=1e-5)


def test_embeddings_of_no_scans(model):
    assert model.embed([]).shape == (0, 384)


def test_a_broken_file_is_refused_by_its_path(model, scan, tmp_path):
    half = tmp_path / "half.wrl"
    half.write_bytes(scan.read_bytes()[:3000])
    for path in (half, tmp_path / "missing.obj"):
        with pytest.raises(MeshError) as caught:
            model.predict(path)
        assert str(path) in str(caught.value)
    with pytest.raises(MeshError, match="half"):
        model.predict([scan, half])


def test_what_is_no_face_is_refused(model):
    with pytest.raises(MeshError, match="no face"):
        model.predict(sphere())


def test_a_file_that_holds_no_face_is_refused_by_its_path(model, tmp_path):
    path = tmp_path / "ball.ply"
    write_mesh(sphere(), path)
    with pytest.raises(MeshError, match=r"ball\.ply"):
        model.predict(path)


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".stl", ".off"])
@pytest.mark.parametrize(("unit", "mm"), [("mm", 1.0), ("cm", 10.0), ("m", 1000.0)])
def test_format_and_unit_do_not_matter(model, scan, tmp_path, suffix, unit, mm):
    mesh = read_mesh(scan, load_texture=False)
    path = tmp_path / f"face{suffix}"
    write_mesh(Mesh(vertices=(mesh.vertices / mm).astype(np.float32), faces=mesh.faces), path)
    answer, expected = model.predict(path), model.predict(scan)
    assert answer.face.unit == unit
    assert answer.label == expected.label
    (first, second) = model.embed([path, scan])
    assert first @ second > 0.999


def test_a_fold_may_be_loaded_by_its_own_folder(model, trained_run, scan):
    assert load(trained_run / "fold_00").predict(scan).probabilities == model.predict(scan).probabilities
    assert load(str(trained_run / "fold_01")).predict(scan).label in BASIC_EXPRESSIONS
    assert smilevlm.load is load


def test_a_run_of_which_another_fold_is_trained(trained_run, scan, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    shutil.rmtree(run / "fold_00")
    assert load(run).predict(scan).label in BASIC_EXPRESSIONS


def test_a_folder_that_is_no_model_is_refused(tmp_path, scan):
    with pytest.raises(CheckpointError, match="no trained model"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="is no folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="is no folder"):
        load(scan)


def test_each_scan_has_its_answer_or_its_error_in_order(model, scans, tmp_path):
    broken = tmp_path / "broken.wrl"
    broken.write_text("no mesh")
    results = list(model.predict_each([scans[0], broken, sphere(), scans[1]], jobs=2))
    assert [isinstance(result, Prediction) for result in results] == [True, False, False, True]
    assert str(broken) in str(results[1])
    assert "no face" in str(results[2])
    alone = model.predict(scans[1])
    assert results[3].label == alone.label
    np.testing.assert_array_equal(results[3].views, alone.views)


def test_scans_are_drawn_from_an_iterable_as_needed(model, scans):
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield read_mesh(scans[0])

    assert isinstance(next(model.predict_each(endless())), Prediction)
    assert len(drawn) < 100


def test_where_the_time_goes(model, scan):
    seconds = model.predict(scan).seconds
    parts = (seconds.read, seconds.face, seconds.views, seconds.network)
    assert min(parts) > 0
    assert seconds.total == pytest.approx(sum(parts))
    assert model.predict(read_mesh(scan)).seconds.read == 0


def test_not_sure_below_the_level(model, scan):
    sure = Model(replace(model.bundle, abstain_threshold=0.0)).predict(scan)
    unsure = Model(replace(model.bundle, abstain_threshold=0.999)).predict(scan)
    assert (sure.is_confident, sure.verdict) == (True, sure.label)
    assert (unsure.is_confident, unsure.verdict, unsure.label) == (False, "not sure", sure.label)
    assert sure.confidence == max(sure.probabilities.values())


def test_only_the_trained_classes_are_called_calibrated(model, scan):
    fitted = Model(replace(model.bundle, calibrated=True))
    assert fitted.predict(scan).calibrated
    assert not fitted.predict(scan, prompts=WORDS).calibrated
    assert not model.predict(scan).calibrated


@pytest.fixture(scope="module")
def frames(scans, tmp_path_factory) -> Path:
    """A sequence of one person: neutral, then something else, as numbered files."""
    folder = tmp_path_factory.mktemp("sequence") / "clip"
    folder.mkdir()
    own = [path for path in scans if path.parent == scans[0].parent][:4]
    for number in range(6):
        write_mesh(read_mesh(own[number % 4]), folder / f"{number:03d}.ply")
    return folder


def test_a_folder_of_frames_is_one_dynamic_image_per_view(model, frames, tmp_path):
    answer = model.predict(frames)
    assert answer.is_sequence
    assert answer.num_frames == 6
    assert answer.views.shape == (3, 48, 48, 3)
    assert not np.array_equal(answer.views, model.predict(frames / "000.ply").views)
    archive = shutil.make_archive(str(tmp_path / "clip"), "zip", frames)
    np.testing.assert_array_equal(model.predict(archive).views, answer.views)
    assert model.embed([frames]).shape == (1, 384)


def test_a_sequence_is_pooled_as_preparation_pools_it(model, frames, tmp_path):
    recording = Recording(
        sample_id="clip",
        subject="anna",
        expression="happy",
        frames=tuple(FrameFile(path=path, number=n) for n, path in enumerate(sorted(frames.iterdir()))),
        is_sequence=True,
    )
    prepare([recording], tmp_path / "store", model.bundle.prepare, layout="folder", synthetic=True)
    np.testing.assert_array_equal(PreparedSet(tmp_path / "store").images(0), model.predict(frames).views)


def test_a_sequence_with_too_many_bad_frames_is_refused_by_its_folder(model, frames, tmp_path):
    folder = tmp_path / "clip"
    shutil.copytree(frames, folder)
    for number in (1, 2, 3):
        (folder / f"{number:03d}.ply").write_text("broken")
    with pytest.raises(MeshError, match="frames could not be used") as caught:
        model.predict(folder)
    assert str(folder) in str(caught.value)


def test_axes_that_are_given_are_not_searched_for(model, scan):
    mesh = read_mesh(scan)
    lying = mesh.transformed(np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32), np.zeros(3, np.float32))
    upright, named = model.predict(scan), model.predict(lying, up="+z", front="-y")
    np.testing.assert_allclose(named.views.astype(int), upright.views.astype(int), atol=30)
    # Where the axes and what would be found disagree, the axes count: a face is not found upside down.
    with pytest.raises(MeshError, match="no face"):
        model.predict(mesh, up="-y", front="+z")
    with pytest.raises(SettingsError, match="belong together"):
        model.predict(mesh, up="+z")
    with pytest.raises(SettingsError, match="sideways"):
        model.predict(mesh, up="sideways", front="+z")


def test_own_classes_have_no_level_below_which_the_model_is_not_sure(model, scan):
    strict = Model(replace(model.bundle, abstain_threshold=0.999))
    assert strict.predict(scan, prompts=WORDS).is_confident
    assert not strict.predict(scan).is_confident


def test_frames_whose_place_a_neighbour_took_are_named(model, frames, tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(12):
        shutil.copy(frames / f"{number % 4:03d}.ply", folder / f"{number:03d}.ply")
    (folder / "005.ply").write_text("broken")
    answer = model.predict(folder)
    assert (answer.num_frames, len(answer.bad_frames)) == (11, 1)
    assert answer.bad_frames[0][0] == "005.ply"
    assert answer.to_dict()["bad_frames"][0]["file"] == "005.ply"
    assert model.predict(frames).bad_frames == ()
    assert answer.remarks[0].startswith("sequence of 12 frames; for a row each: --scans")
    assert answer.remarks[1].startswith("1 of 12 frames could not be used: 005.ply (")
    assert answer.to_dict()["remarks"] == list(answer.remarks)


def test_what_a_reader_left_out_is_a_remark(model, scan):
    mesh = replace(read_mesh(scan), remarks=("3 of 9408 faces name vertices that are not there; left out",))
    assert model.predict(mesh).remarks == mesh.remarks
    assert model.predict(scan).remarks == ()


def test_what_is_doubtful_of_a_face_is_a_remark(model, scan):
    mesh = read_mesh(scan, load_texture=False)
    apart = np.array([2.5 * np.ptp(mesh.vertices[:, 0]), 0, 0], np.float32)
    two = Mesh(
        vertices=np.concatenate([mesh.vertices, mesh.vertices + apart]),
        faces=np.concatenate([mesh.faces, mesh.faces + mesh.num_vertices]),
    )
    answer = model.predict(two)
    assert answer.remarks == answer.face.remarks != ()


def test_a_folder_of_single_scans_is_no_sequence_unless_it_is_called_one(model, frames, tmp_path):
    for number in range(3):
        shutil.copy(frames / f"{number:03d}.ply", tmp_path / f"pose_{number}.ply")
    with pytest.raises(MeshError, match=r'holds 3 scans .* --sequence .* numbered_as="sequence"'):
        model.predict(tmp_path)
    answer = model.predict(tmp_path, numbered_as="sequence")
    assert (answer.num_frames, answer.remarks) == (3, ("sequence of 3 frames, as was asked for",))
    assert model.embed([tmp_path], numbered_as="sequence").shape == (1, 384)
    with pytest.raises(MeshError, match="holds 6 scans"):
        model.predict(frames, numbered_as="scans")
    with pytest.raises(SettingsError, match="numbered_as is 'frames'"):
        model.predict(frames, numbered_as="frames")


def test_the_bundled_weights_are_not_hidden_by_a_folder_of_their_name(tmp_path, monkeypatch):
    (tmp_path / "default").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("default").bundle.synthetic
    with pytest.raises(CheckpointError, match="no trained model"):
        load("./default")


def test_more_threads_give_the_same_answers(model, scans):
    many = [scans[number % len(scans)] for number in range(70)]
    one, several = (list(model.predict_each(many, jobs=jobs)) for jobs in (1, 3))
    assert [answer.label for answer in one] == [answer.label for answer in several]
    assert len(one) == 70


def test_batches_of_any_size_give_the_same_answers(model, scans):
    expected = model.predict(scans[:5])
    for batch_size in (1, 2, 64):
        for answer, other in zip(model.predict(scans[:5], batch_size=batch_size), expected, strict=True):
            assert answer.label == other.label
            np.testing.assert_allclose(
                list(answer.probabilities.values()), list(other.probabilities.values()), atol=1e-5
            )
    with pytest.raises(SettingsError, match="batch_size is 0"):
        model.predict(scans[0], batch_size=0)


def test_so_many_scans_are_read_at_a_time_as_a_batch_has(model, scans):
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield scans[0]

    assert isinstance(next(model.predict_each(endless(), batch_size=3)), Prediction)
    assert len(drawn) == 3


def test_the_network_is_moved_to_a_device_once(model, scan, monkeypatch):
    moved = []
    monkeypatch.setattr(type(model.bundle.model), "to", lambda self, device: moved.append(str(device)))
    assert len(list(model.predict_each([scan, scan, scan], device="cpu", batch_size=1))) == 3
    assert moved == ["cpu"]
    model.predict(scan)
    assert moved == ["cpu"], "without a device it stays where it is"


@pytest.mark.parametrize(
    ("device", "match"),
    [
        ("gpu", "device 'gpu' is unknown; expected cpu, cuda"),
        ("", "device '' is unknown"),
        ("meta", "device 'meta' is not available on this machine: Cannot copy"),
        ("cuda:93", "device 'cuda:93' is not available on this machine: "),
    ],
)
def test_a_device_that_is_not_there_is_refused(model, scan, device, match):
    with pytest.raises(SettingsError, match=match):
        model.predict(scan, device=device)
    assert model.bundle.model.image_mean.device.type == "cpu"


def test_names_of_before_still_work(model, scan):
    from smilevlm import predict

    with pytest.warns(FutureWarning, match="use smilevlm.predict.prepare_scan"):
        prepared = predict.see(scan, model.bundle.prepare)
    with pytest.warns(FutureWarning, match=r"Model.answer is deprecated .* predict_prepared"):
        (answer,) = model.answer([prepared], model.compare_with(None))
    assert answer.probabilities == model.predict(scan).probabilities
