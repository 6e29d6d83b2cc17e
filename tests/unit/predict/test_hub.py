"""A model as a folder of the hub's layout: the same model back, from a folder, a cache or a hub that is made up."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import httpx2
import huggingface_hub
import numpy as np
import pytest
import yaml
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from builders_bundle import CLASSES, random_views, tiny_bundle
from processes import run_python
from smilevlm.errors import CheckpointError, SettingsError
from smilevlm.models import load_bundle, save_bundle
from smilevlm.predict.hub import HUB_FILES, model_card, push_to_hub, resolve_source, save_pretrained
from smilevlm.results import OtherTrainingData
from smilevlm.version import __version__

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def bundle():
    return tiny_bundle()


@pytest.fixture
def folder(bundle, tmp_path) -> Path:
    save_pretrained(bundle, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def fake_hub(folder, monkeypatch):
    """A hub with one repository; what it was asked for."""
    asked = []

    def snapshot_download(repository, *, revision, allow_patterns):
        asked.append((repository, revision, tuple(allow_patterns)))
        if isinstance(answer := hub.answers, Exception):
            raise answer
        return str(answer)

    hub = SimpleNamespace(answers=folder, asked=asked)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return hub


def refusal(kind):
    request = httpx2.Request("GET", "https://hub.invalid/api")
    return kind("404 Client Error\n\nlong advice", response=httpx2.Response(404, request=request))


def test_the_same_model_comes_back(bundle, folder):
    loaded = load_bundle(resolve_source(folder))
    before, after = bundle.embed(random_views()), loaded.embed(random_views())
    np.testing.assert_array_equal(after.z_fused, before.z_fused)
    np.testing.assert_array_equal(loaded.prototypes.vectors, bundle.prototypes.vectors)
    assert loaded.classes == bundle.classes


def test_the_files_are_those_of_a_fold_beside_config_and_card(bundle, folder, tmp_path):
    save_bundle(bundle, tmp_path / "fold_00")
    own = {path.name for path in (tmp_path / "fold_00").iterdir()}
    assert {path.name for path in folder.iterdir()} == set(HUB_FILES) == own | {"config.json", "README.md"}
    for name in own:
        assert (folder / name).read_bytes() == (tmp_path / "fold_00" / name).read_bytes()


def test_no_pickle_is_among_the_files(folder):
    for path in folder.iterdir():
        assert path.suffix in (".json", ".safetensors", ".md")
        with pytest.raises((pickle.UnpicklingError, ValueError, KeyError, EOFError, IndexError, UnicodeDecodeError)):
            pickle.loads(path.read_bytes())


def test_config_says_what_it_is(folder):
    values = json.loads((folder / "config.json").read_text())
    assert values["model_type"] == values["library_name"] == "smilevlm"
    assert values["smilevlm_version"] == __version__
    assert values["classes"] == list(CLASSES)
    assert values["trained_on_synthetic_faces"] is True


def front_matter(card: str) -> dict:
    _, front, body = card.split("---\n", 2)
    assert body.lstrip().startswith("# ")
    return yaml.safe_load(front)


def test_the_card_has_front_matter_for_the_hub(bundle, folder):
    card = (folder / "README.md").read_text()
    front = front_matter(card)
    assert front["license"] == "other"
    assert front["library_name"] == "smilevlm"
    assert "synthetic-faces" in front["tags"]
    assert "bu3dfe, synthetic faces, at least in part, 2 people" in card
    assert "happy, sad, surprise" in card
    assert "softmax of cosines / 0.05, not calibrated |" in card
    assert "depends on the faces they were trained on (bu3dfe)" in card
    real = replace(
        bundle,
        synthetic=False,
        trained_on=None,
        calibrated=True,
        abstain_threshold=0.4,
        started_from=OtherTrainingData(layout="bu4dfe", manifest_hash="0", synthetic=False),
    )
    card = model_card(real, "cc-by-nc-4.0")
    assert front_matter(card)["license"] == "cc-by-nc-4.0"
    assert "synthetic-faces" not in front_matter(card)["tags"]
    assert 'fitted to people held back from training; a highest one below 0.4 means "not sure"' in card
    assert "faces that are not synthetic; training began with a model of bu4dfe" in card


def test_a_card_of_one_s_own(bundle, tmp_path):
    save_pretrained(bundle, tmp_path / "model", card="# Mine\n", licence="apache-2.0")
    assert (tmp_path / "model" / "README.md").read_text() == "# Mine\n"
    assert json.loads((tmp_path / "model" / "config.json").read_text())["licence"] == "apache-2.0"


def test_a_saved_model_is_replaced_only_when_told(bundle, folder):
    with pytest.raises(SettingsError, match="not empty"):
        save_pretrained(bundle, folder)
    save_pretrained(replace(bundle, temperature=0.5), folder, overwrite=True)
    assert load_bundle(folder).temperature == 0.5
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_folder_of_other_things_is_never_replaced(bundle, tmp_path):
    fold = tmp_path / "fold_00"
    save_bundle(bundle, fold)
    (fold / "last.ckpt").write_bytes(b"training goes on from here")
    with pytest.raises(SettingsError, match=r"last\.ckpt"):
        save_pretrained(bundle, fold, overwrite=True)
    assert (fold / "last.ckpt").exists()


def test_a_run_gives_its_first_fold(bundle, tmp_path):
    save_bundle(bundle, tmp_path / "run" / "fold_03")
    assert resolve_source(tmp_path / "run") == tmp_path / "run" / "fold_03"
    assert resolve_source(str(tmp_path / "run" / "fold_03")) == tmp_path / "run" / "fold_03"


def test_pickles_are_ignored(folder):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    for name in ("pytorch_model.bin", "model.pt", "training_args.bin"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    assert load_bundle(resolve_source(folder)).classes == CLASSES
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_bundle(resolve_source(folder))


@pytest.mark.parametrize(
    ("source", "repository", "revision"),
    [
        ("owner/name", "owner/name", None),
        ("owner/name@v1.0", "owner/name", "v1.0"),
        (Path("own-er/na.me_2@refs/pr/1"), "own-er/na.me_2", "refs/pr/1"),
    ],
)
def test_a_hub_id(fake_hub, folder, source, repository, revision):
    assert resolve_source(source) == folder
    assert fake_hub.asked == [(repository, revision, HUB_FILES)]


def test_a_folder_goes_before_a_hub_id(fake_hub, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_bundle(bundle, Path("owner/name"))
    assert resolve_source("owner/name") == Path("owner/name")
    assert fake_hub.asked == []


@pytest.mark.parametrize(
    "source",
    ["nowhere", "a/b/c", "/tmp/nowhere/at-all", "../run", "~/run", "owner/", "owner/name@", "-x/y", "a/b@-", "a b/c"],
)
def test_what_is_no_hub_id_is_not_asked_for(fake_hub, source):
    with pytest.raises(CheckpointError, match="is no folder; expected"):
        resolve_source(source)
    assert fake_hub.asked == []


def test_a_file_is_no_model(fake_hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("owner").mkdir()
    Path("owner/name").write_text("")
    with pytest.raises(CheckpointError, match="is no folder"):
        resolve_source("owner/name")
    assert fake_hub.asked == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refusal(RepositoryNotFoundError), "no such repository, or it is private"),
        (refusal(GatedRepoError), "grants access on request"),
        (refusal(RevisionNotFoundError), "not this revision"),
        (LocalEntryNotFoundError("long\nadvice"), "cannot be reached or HF_HUB_OFFLINE is set"),
        (OfflineModeIsEnabled("offline"), "cannot be reached or HF_HUB_OFFLINE is set"),
        (httpx2.ConnectError("refused\nby all"), "does not give it: refused$"),
        (ValueError("strange id"), "does not give it: strange id"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_one_clear_line_where_the_hub_gives_nothing(fake_hub, error, reason):
    fake_hub.answers = error
    with pytest.raises(CheckpointError, match=reason) as caught:
        resolve_source("owner/name@v2")
    assert str(caught.value).startswith("owner/name@v2: no such folder, and as a hub id: ")
    assert "\n" not in str(caught.value)


def test_a_repository_of_something_else(fake_hub, tmp_path):
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    fake_hub.answers = tmp_path / "bert"
    with pytest.raises(CheckpointError, match="owner/name: this repository of the hub holds no smilevlm model"):
        resolve_source("owner/name")


def offline(home: Path, source: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from smilevlm.errors import SmileVlmError; from smilevlm.predict.hub import resolve_source\n"
        "try: print(resolve_source(sys.argv[1]))\n"
        "except SmileVlmError as error: print('refused:', error)"
    )
    environment = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(home / "hub")}
    return run_python("-c", code, source, cwd=home, **environment)


def test_the_hub_s_own_cache_is_read_offline(folder, tmp_path):
    """By the real library, in a process of its own: it reads these settings when it is imported."""
    repository = tmp_path / "home" / "hub" / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    kept = shutil.copytree(folder, repository / "snapshots" / COMMIT)
    assert offline(tmp_path / "home", "owner/name").stdout.strip() == str(kept)
    refused = offline(tmp_path / "home", "owner/other").stdout
    assert refused.startswith("refused: owner/other: no such folder, and as a hub id: it is not in the hub's cache")
    assert len(refused.splitlines()) == 1


class FakeApi:
    """Takes what is uploaded."""

    calls: ClassVar[list[tuple]] = []
    error: ClassVar[Exception | None] = None

    def __init__(self, **library):
        assert library == {"library_name": "smilevlm", "library_version": __version__}

    def create_repo(self, repository, *, private, exist_ok):
        assert exist_ok
        if FakeApi.error is not None:
            raise FakeApi.error
        FakeApi.calls.append((repository, private))

    def upload_folder(self, *, repo_id, folder_path, commit_message, allow_patterns):
        names = sorted(path.name for path in Path(folder_path).iterdir())
        assert sorted(allow_patterns) == names
        FakeApi.calls.append((repo_id, names, load_bundle(Path(folder_path)).classes, commit_message))
        return SimpleNamespace(commit_url=f"https://hub.invalid/{repo_id}/commit/{COMMIT}")


@pytest.fixture
def fake_api(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    monkeypatch.setattr(FakeApi, "calls", [])
    return FakeApi


def test_pushing_uploads_the_saved_folder(fake_api, bundle):
    address = push_to_hub(bundle, "owner/name", licence="apache-2.0")
    assert address == f"https://hub.invalid/owner/name/commit/{COMMIT}"
    created, uploaded = fake_api.calls
    assert created == ("owner/name", True)
    assert uploaded == ("owner/name", sorted(HUB_FILES), CLASSES, f"smilevlm {__version__}")


@pytest.mark.parametrize("repository", ["name", "owner/name@v1", "./owner/name", "owner/na me"])
def test_pushing_to_no_repository_is_refused(fake_api, bundle, repository):
    with pytest.raises(CheckpointError, match="expected the id of a repository"):
        push_to_hub(bundle, repository)
    assert fake_api.calls == []


def test_pushing_where_the_hub_refuses(fake_api, bundle, monkeypatch):
    monkeypatch.setattr(FakeApi, "error", refusal(RepositoryNotFoundError))
    with pytest.raises(CheckpointError, match=r"owner/name: the model cannot be uploaded: 404 Client Error$"):
        push_to_hub(bundle, "owner/name")
