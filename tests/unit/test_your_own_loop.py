"""The public API for training loops of one's own: the page that shows it runs as it stands."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import smilevlm
from smilevlm.data import PreparedDataset
from smilevlm.datasets import LAYOUTS, PROTOCOLS
from smilevlm.errors import SettingsError
from smilevlm.models import TOWERS, build_model, load_model, save_model
from smilevlm.readers import write_mesh
from smilevlm.store import MANIFEST_NAME

PAGE = Path(__file__).parents[2] / "docs" / "your_own_loop.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SMALLER = (
    ("num_folds=10", "num_folds=2"),
    ("batch_size=32", "batch_size=4"),
    ("range(10)", "range(1)"),
)


def block(containing: str) -> str:
    (found,) = [text for text in BLOCKS if containing in text]
    return found


def run(code: str, folder: Path, monkeypatch) -> dict:
    """Execute a block in a folder that holds `store`."""
    monkeypatch.chdir(folder)
    names: dict = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def folder(store_of_four, tmp_path) -> Path:
    (tmp_path / "store").symlink_to(store_of_four)
    return tmp_path


def test_the_loop_of_the_page_trains_and_classifies(folder, monkeypatch, capsys):
    code = block("multi_view_barlow_twins")
    assert len([line for line in code.splitlines() if line.strip()]) <= 40
    for old, new in SMALLER:
        assert old in code
        code = code.replace(old, new)
    names = run(code, folder, monkeypatch)
    assert capsys.readouterr().out.startswith("accuracy on unseen people 0.")
    train, test = (set(names["data"].subjects[i] for i in names[side]) for side in ("train", "test"))
    assert not train & test
    assert torch.isfinite(names["loss"])
    assert names["predicted"].shape == (len(names["test"]),)


def test_a_tower_of_one_s_own(folder, monkeypatch):
    code = block("class MyTower")
    names = run(code, folder, monkeypatch)
    try:
        views = torch.zeros(2, 3, 3, 48, 48, dtype=torch.uint8)
        assert names["model"](views).z_fused.shape == (2, 384)
        save_model(names["model"], folder / "saved")
        again = load_model(folder / "saved")
        assert torch.equal(again(views).z_fused, names["model"].eval()(views).z_fused)
        with pytest.raises((SettingsError, TypeError)):  # the tests' type checker may be first
            build_model(tower=torch.nn.Flatten())
    finally:
        TOWERS.pop("mine", None)


def test_a_data_set_of_one_s_own(frontal_faces, tmp_path, monkeypatch):
    (tmp_path / "scans").mkdir()
    for subject in ("P01", "P02"):
        for name in ("happy", "surprise"):
            write_mesh(frontal_faces[name], tmp_path / "scans" / f"{subject}_{name}.obj")
    try:
        run(block("index_mylab"), tmp_path, monkeypatch)
        data = PreparedDataset(tmp_path / "mystore", protocol="mylab")
        assert data.subjects == ["P01", "P01", "P02", "P02"]
        assert data.labels == ["happy", "surprise"] * 2
    finally:
        LAYOUTS.pop("mylab", None), PROTOCOLS.pop("mylab", None)


def test_train_and_evaluate_from_python(folder, tiny_overrides):
    settings = [*tiny_overrides, "optimiser.epochs=1", "num_control_folds=0"]
    trained = smilevlm.train("demo", folder / "store", folder / "run", settings=settings, folds=[0])
    result = smilevlm.evaluate(trained)
    assert [fold.fold for fold in result.folds] == [0]
    assert smilevlm.evaluate(folder / "run", folder / "store") == result
    with pytest.raises(SettingsError, match="store is missing"):
        smilevlm.evaluate(folder / "run")


def test_samples_and_prompts(store_of_four):
    data = PreparedDataset(store_of_four, protocol="bu3dfe_subset1")
    assert len(data) == len(data.subjects) == len(data.samples) == 24
    item = data[3]
    assert (item["images"].dtype, item["images"].shape) == (torch.uint8, (3, 3, 48, 48))
    assert item["prompt"] in data.prompt_set.prompts[item["label"]]
    assert data.classes[item["target"]] == item["label"] == data.samples[3].expression
    np.testing.assert_allclose(np.linalg.norm(item["text"].numpy()), 1.0, atol=1e-5)
    batch = data.collate([data[0], item])
    assert torch.equal(batch["images"][1], item["images"])
    assert batch["subject"] == [data.subjects[0], data.subjects[3]]


def test_prompts_are_drawn_anew_each_epoch_and_repeat(store_of_four):
    data = PreparedDataset(store_of_four, protocol="bu3dfe_subset1", seed=5)

    def prompts(epoch: int) -> list[str]:
        data.set_epoch(epoch)
        return [data[index]["prompt"] for index in range(len(data))]

    assert prompts(0) != prompts(1)
    assert prompts(1) == prompts(1)
    generic = PreparedDataset(store_of_four, pairing="generic")
    assert len({generic[index]["prompt"] for index in range(len(generic))}) == 1
    with pytest.raises(SettingsError, match="pairing is 'pseudo'"):
        PreparedDataset(store_of_four, pairing="pseudo")


def test_names_of_earlier_versions_warn():
    with pytest.warns(FutureWarning, match=r"smilevlm\.Answer is deprecated.*smilevlm\.predict\.Prediction"):
        assert smilevlm.Answer is smilevlm.Prediction
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = smilevlm.Nothing


def test_captions_say_what_each_face_does(store_of_four):
    captions = PreparedDataset(store_of_four, pairing="actions", captions_per_sample=3)
    prompts = {name: set(texts) for name, texts in captions.prompt_set.prompts.items()}
    found = set()
    for epoch in range(30):
        captions.set_epoch(epoch)
        item = captions[5]
        found.add(item["prompt"])
        np.testing.assert_allclose(np.linalg.norm(item["text"].numpy()), 1.0, atol=1e-5)
    assert 2 <= len(found) <= 3
    assert not found & set.union(*prompts.values())
    mixed = PreparedDataset(store_of_four, pairing="mixed", caption_share=0.25)
    items = [mixed[index] for index in range(len(mixed))]
    of_class = [item["prompt"] in prompts[item["label"]] for item in items]
    assert 0.5 < np.mean(of_class) < 0.95


def test_captions_need_recorded_actions(store_of_four, tmp_path):
    shutil.copytree(store_of_four, tmp_path / "store")
    manifest = tmp_path / "store" / MANIFEST_NAME
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"actions_digest": ""}))
    with pytest.raises(SettingsError, match="no recorded facial actions, such as"):
        PreparedDataset(tmp_path / "store", pairing="mixed")
