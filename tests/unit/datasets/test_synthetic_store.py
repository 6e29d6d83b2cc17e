"""Faces straight to a store: the parts, actions and hash that mesh files and `prepare` would give; resumable."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from smilevlm.cli import main
from smilevlm.datasets import index_data_set
from smilevlm.datasets import synthetic_store as module
from smilevlm.datasets.synthetic_store import synthesize_store
from smilevlm.errors import LayoutError, StoreError
from smilevlm.geometry import NormaliseSettings
from smilevlm.recipes import find_recipe
from smilevlm.store import PreparedSet, PrepareSettings, prepare
from smilevlm.synthesis import MARKER_NAME, VariedSettings, synthesize_varied
from smilevlm.views import ViewSettings

FACES = VariedSettings(num_subjects=2, seed=7, filmed_share=0.5, frames=6, action_scans=1)
VIEWS = PrepareSettings(views=ViewSettings(size=24), normalise=NormaliseSettings())
OWN = {MARKER_NAME, "subjects.csv"}
"""What such a store has beside what `prepare` writes."""


def content(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in sorted(store.rglob("*")) if path.is_file()}


def people_made(store: Path, monkeypatch, faces: VariedSettings = FACES) -> list[str]:
    made = []
    work = module._make_person
    monkeypatch.setattr(module, "_make_person", lambda *call: (made.append(call[1].path), work(*call)))
    synthesize_store(store, faces, VIEWS)
    monkeypatch.setattr(module, "_make_person", work)
    return made


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("straight") / "store"
    progress = []
    outcome = synthesize_store(store, FACES, VIEWS, progress=lambda *done: progress.append(done))
    assert progress == [(0, 2), (1, 2), (2, 2)]
    assert outcome.num_new == 2
    return store


@pytest.fixture
def store(straight, tmp_path) -> Path:
    return Path(shutil.copytree(straight, tmp_path / "store"))


def test_it_is_the_store_of_the_same_faces_as_files(straight, tmp_path):
    synthesize_varied(tmp_path / "faces", FACES)
    index = index_data_set("folder", tmp_path / "faces")
    sequences = [recording for recording in index.recordings if recording.is_sequence]
    assert 0 < len(sequences) < len(index.recordings)
    prepare(index.recordings, tmp_path / "store", VIEWS, layout="folder", synthetic=index.synthetic)
    by_files, found = content(tmp_path / "store"), content(straight)
    assert set(found) - set(by_files) == OWN
    assert {name: data for name, data in found.items() if name not in OWN} == by_files
    assert all(sample.actions is not None for sample in PreparedSet(straight).samples)
    assert (straight / "subjects.csv").read_text() == (tmp_path / "faces" / "subjects.csv").read_text()


def test_the_marker_says_how_the_faces_were_made(straight):
    marker = json.loads((straight / MARKER_NAME).read_text())
    assert marker["synthetic"] is True
    assert (marker["num_subjects"], marker["seed"], marker["prepared"]) == (2, 7, VIEWS.digest)


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(straight, tmp_path):
    synthesize_store(tmp_path / "store", FACES, VIEWS, jobs=2)
    assert content(tmp_path / "store") == content(straight)


def test_only_people_of_whom_something_is_missing_are_made_again(straight, store, monkeypatch):
    assert people_made(store, monkeypatch) == []
    assert content(store) == content(straight)
    name = next(folder.name for folder in (store / "parts").iterdir() if folder.name.startswith("M"))
    shutil.rmtree(store / "parts" / name)
    assert people_made(store, monkeypatch) == ["M00001"]
    assert content(store) == content(straight)


@pytest.mark.slow
def test_an_interrupted_run_goes_on(straight, tmp_path, monkeypatch):
    work = module._make_person

    def stopped(store, person, *settings):
        if person.path.startswith("M"):
            scratch = store / ".people" / f".{person.path}.part"
            scratch.mkdir()
            raise KeyboardInterrupt
        work(store, person, *settings)

    monkeypatch.setattr(module, "_make_person", stopped)
    with pytest.raises(KeyboardInterrupt):
        synthesize_store(tmp_path / "store", FACES, VIEWS)
    monkeypatch.setattr(module, "_make_person", work)
    assert not (tmp_path / "store" / "manifest.json").exists()
    assert people_made(tmp_path / "store", monkeypatch) == ["M00001"]
    assert content(tmp_path / "store") == content(straight)


@pytest.mark.parametrize(
    ("faces", "views", "said"),
    [
        (replace(FACES, num_subjects=3), VIEWS, "num_subjects"),
        (FACES, replace(VIEWS, views=ViewSettings(size=32)), "prepared"),
    ],
)
def test_other_settings_are_refused(store, faces, views, said):
    with pytest.raises(LayoutError, match=said):
        synthesize_store(store, faces, views)


def test_files_and_store_do_not_mix(store, tmp_path):
    with pytest.raises(LayoutError, match="prepared"):
        synthesize_varied(store, FACES)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(LayoutError, match="not empty"):
        synthesize_store(tmp_path / "full", FACES, VIEWS)


def test_scans_that_cannot_be_used_are_listed(tmp_path, monkeypatch):
    def refused(*_arguments, **_settings):
        raise StoreError("no face")

    monkeypatch.setattr("smilevlm.store.work.scan_views", refused)
    with pytest.raises(StoreError, match=r"none of the \d+ scans could be prepared; the first reason: .*: no face"):
        synthesize_store(tmp_path / "store", replace(FACES, filmed_share=0.0), VIEWS)
    assert "no face" in (tmp_path / "store" / "parts" / "F00001" / "part.json").read_text()


def test_the_command_writes_a_store_with_the_views_of_a_recipe(tmp_path, capsys):
    small = ["--subjects", "1", "--filmed", "0", "--action-scans", "0", "--jobs", "1"]
    command = ["synthesize", "folder", str(tmp_path / "store"), "--as-store", "bundled", *small]
    assert main(command) == 0
    said = capsys.readouterr().out
    prepared = PreparedSet(tmp_path / "store")
    assert f"{len(prepared)} synthetic samples of 1 subjects prepared" in said
    assert len(prepared) + len(prepared.manifest.skipped) == 10
    assert prepared.manifest.settings == find_recipe("bundled").prepare
    assert prepared.manifest.synthetic
    assert not list((tmp_path / "store").rglob("*.ply"))
    assert main(["synthesize", "bu3dfe", str(tmp_path / "other"), "--as-store", "bundled"]) == 1
    assert "--as-store is for folder" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
