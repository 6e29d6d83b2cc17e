"""Facial actions in a store: they come with the samples, and need no face to be rendered anew."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from smilevlm.errors import StoreError
from smilevlm.geometry import NormaliseSettings
from smilevlm.readers import ACTIONS_NAME
from smilevlm.store import FrameFile, PreparedSet, PrepareSettings, Recording, prepare, sample_of
from smilevlm.store.manifest import MANIFEST_NAME
from smilevlm.store.parts import labels_digest
from smilevlm.views import ViewSettings

SETTINGS = PrepareSettings(views=ViewSettings(angles_deg=(0.0,), size=16), normalise=NormaliseSettings())
SMILE = {"AU12": (0.5, 0.25)}


@pytest.fixture(scope="module")
def recordings(synthetic_faces) -> list[Recording]:
    """Three scans, of which nothing is recorded."""
    paths = sorted(synthetic_faces.rglob("*_F3D.wrl"))[:3]
    return [
        Recording(sample_id=f"scan_{n}", subject=f"F{n}", expression="happy", frames=(FrameFile(path=path),))
        for n, path in enumerate(paths)
    ]


def with_actions(recordings: list[Recording]) -> list[Recording]:
    smiling, resting, unknown = recordings
    return [replace(smiling, actions=SMILE, unjudged_actions=("AU1",)), replace(resting, actions={}), unknown]


def prepared(store: Path, recordings: list[Recording]) -> tuple[PreparedSet, int]:
    outcome = prepare(recordings, store, SETTINGS, layout="folder", synthetic=True)
    return PreparedSet(store), outcome.num_new


def test_samples_have_the_actions_of_their_recordings(recordings, tmp_path):
    opened, _ = prepared(tmp_path / "store", with_actions(recordings))
    assert [sample.actions for sample in opened.samples] == [SMILE, {}, None]
    assert [sample.unjudged_actions for sample in opened.samples] == [("AU1",), (), ()]
    assert opened.manifest.action_source == "by construction"
    assert replace(opened.manifest, synthetic=False).action_source == "coded by people"


def test_an_older_store_gets_them_without_rendering(recordings, tmp_path):
    store = tmp_path / "store"
    older, num_new = prepared(store, recordings)
    assert num_new == 3
    assert [sample.actions for sample in older.samples] == [None] * 3
    assert older.manifest.action_source is None
    assert not (store / ACTIONS_NAME).exists()
    manifest = json.loads((store / MANIFEST_NAME).read_text())
    del manifest["actions_digest"]  # as versions before had it
    (store / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert [sample.actions for sample in PreparedSet(store).samples] == [None] * 3
    opened, num_new = prepared(store, with_actions(recordings))
    assert num_new == 0
    assert [sample.actions for sample in opened.samples] == [SMILE, {}, None]
    assert opened.manifest.content_hash == older.manifest.content_hash
    assert opened.manifest.actions_digest
    again, _ = prepared(store, recordings)
    assert [sample.actions for sample in again.samples] == [None] * 3
    assert not (store / ACTIONS_NAME).exists()


def test_actions_are_no_reason_to_prepare_anew(recordings):
    for plain, acted in zip(recordings, with_actions(recordings), strict=True):
        assert labels_digest(plain) == labels_digest(acted)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("sample\n")])
def test_a_table_that_is_not_the_stores(recordings, tmp_path, damage):
    store = tmp_path / "store"
    prepared(store, with_actions(recordings))
    damage(store / ACTIONS_NAME)
    with pytest.raises(StoreError, match="smilevlm prepare"):
        PreparedSet(store)


def test_one_of_several_windows_has_none(recordings):
    acted = with_actions(recordings)[0]
    assert sample_of(acted).actions == SMILE
    assert sample_of(acted).unjudged_actions == ("AU1",)
    window = sample_of(acted, name="w000050", span=(50, 99))
    assert (window.actions, window.unjudged_actions) == (None, ())
