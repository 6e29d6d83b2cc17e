"""What happens when something is pressed, without a browser."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from smilevlm.cli import serve as command
from smilevlm.errors import SettingsError
from smilevlm.web.jobs import Workers
from smilevlm.web.messages import headline
from smilevlm.web.page import FIND, Page
from smilevlm.web.server import find_examples, serve
from smilevlm.web.settings import WebSettings
from smilevlm.web.storage import BUSY, Storage

EXAMPLES = find_examples(None)
WORDS = "pain: a face in pain\ncalm: a calm face"


@pytest.fixture(scope="module")
def page(trained_run, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("page")))
        storage = Storage(WebSettings())
    # Longer than compiling takes, which the first answer may have to wait for.
    workers = Workers(str(trained_run), WebSettings(timeout_s=600))
    yield Page(workers, storage, settings=WebSettings(), facts=workers.facts(), examples=EXAMPLES)
    workers.close()
    storage.close()


def send(page: Page, name: str, data: bytes, session: str = "me"):
    path = page.storage.root / "digest" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return page.take(str(path), session)


def test_a_scan_is_answered_and_deleted(page):
    upload, said = send(page, "face.ply", EXAMPLES["happy scan"].read_bytes())
    assert "Reading" in said
    shown, said, is_there = page.recognise(upload, "", FIND, FIND, "me")
    assert said == ""
    assert not is_there
    assert not upload.path.exists()
    assert shown.name == "face.ply"
    assert shown.turning_path.read_bytes().startswith(b"glTF")
    again = page.recognise(upload, "", "+y", "+z", "me")
    assert again[0] is None
    assert "drop it again" in again[1]

    other, said = page.compare(shown, WORDS, "me")
    assert said == ""
    assert set(other.recognition.prediction.probabilities) == {"pain", "calm"}
    assert not shown.zip_path.exists(), "one result at a time"
    unsure = replace(page.facts, abstain_threshold=1.0)
    assert "not sure" not in headline(
        replace(other.recognition.prediction, is_confident=False), "a", other.prompts, unsure
    )
    assert "to say so" not in headline(other.recognition.prediction, "a", other.prompts, unsure)
    assert "to say so" in headline(replace(shown.recognition.prediction, is_confident=False), "a", None, unsure)
    pictures, result, said = page.explain(other, "me")
    assert pictures.count("<img") == 3
    assert said == ""
    assert not other.zip_path.exists()
    with zipfile.ZipFile(result) as archive:
        assert {"result.json", "probabilities.csv", "relevance_-30.png", "view_+30.png"} <= set(archive.namelist())
        plain = json.loads(archive.read("result.json"))
        table = io.StringIO(archive.read("probabilities.csv").decode()).read()
    assert plain["prompts"] == {"pain": ["a face in pain"], "calm": ["a calm face"]}
    assert plain["trained_on_synthetic_faces"] is True
    assert table.startswith("class,probability\npain,0.")
    page.storage.forget("me")
    assert not Path(result).exists()


def test_what_was_refused_may_be_read_again(page):
    upload, _ = send(page, "<b>picture.ply", b"\x89PNG" + bytes(100), "two")
    shown, said, is_there = page.recognise(upload, "", FIND, FIND, "two")
    assert shown is None
    assert is_there
    assert "&lt;b&gt;picture.ply" in said
    assert "expected" in said
    assert str(page.storage.root) not in said
    _, said, _ = page.recognise(upload, "", "+y", FIND, "two")
    assert "choose both axes" in said
    _, said, _ = page.recognise(upload, "", "+y", "-y", "two")
    assert "different axes" in said


def test_words_that_are_none(page):
    shown, said = page.example("happy scan", "pain", "three")
    assert shown is None
    assert "line 1" in said.lower()
    shown, _ = page.example("happy scan", WORDS, "three")
    same, said = page.compare(shown, "pain: a face; a face\ncalm: calm", "three")
    assert same is shown
    assert "already" in said


def test_nothing_to_compare_or_to_explain(page):
    assert "first" in page.compare(None, WORDS, "me")[1]
    assert "first" in page.explain(None, "me")[2]
    assert page.recognise(None, "", FIND, FIND, "me")[0] is None
    assert page.take(None, "me") == (None, "")


def test_only_what_was_sent_is_read(page):
    upload, said = page.take("/etc/passwd", "me")
    assert upload is None
    assert "no longer there" in said


def test_examples_of_one_s_own(tmp_path):
    with pytest.raises(SettingsError, match="no folder"):
        find_examples(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="no example"):
        find_examples(tmp_path)
    (tmp_path / "my_face.OBJ").write_text("v 0 0 0\n")
    assert find_examples(tmp_path) == {"my face": tmp_path / "my_face.OBJ"}


def test_the_examples_are_small_and_say_what_they_are():
    folder = next(iter(EXAMPLES.values())).parent
    assert 4 <= len(EXAMPLES) <= 8
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_500_000
    assert "Synthetic" in (folder / "README.md").read_text()


def test_the_command_s_bounds_are_the_page_s():
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given, own = vars(parser.parse_args([])), WebSettings()
    for name in ("max_upload_mb", "max_vertices", "max_frames", "timeout_s", "queue", "jobs"):
        assert given[name] == getattr(own, name)
    with pytest.raises(SettingsError, match="at least 1"):
        WebSettings(jobs=0)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device"), "could not store a file"),
        (EOFError(), "something went wrong on the server"),
        (KeyError("secret"), "something went wrong on the server"),
    ],
)
def test_what_fails_on_the_server_is_said_and_logged(page, monkeypatch, caplog, error, sentence):
    shown, _ = page.example("happy scan", "", "four")
    upload, _ = send(page, "face.ply", EXAMPLES["happy scan"].read_bytes(), "four")
    path = send_again(page)

    def failing(*arguments):
        raise error

    monkeypatch.setattr(page.workers, "do", failing)
    monkeypatch.setattr(page.storage, "take", failing)
    said = [
        page.example("happy scan", "", "four")[1],
        page.recognise(upload, "", FIND, FIND, "four")[1],
        page.compare(shown, WORDS, "four")[1],
        page.explain(shown, "four")[2],
        page.take(path, "four")[1],
    ]
    for each in said:
        assert sentence in each.lower()
        assert BUSY not in each.lower()
        assert "secret" not in each
    assert len([record for record in caplog.records if record.exc_info]) == len(said)


def send_again(page: Page) -> str:
    path = page.storage.root / "digest" / "again.ply"
    path.write_bytes(b"ply")
    return str(path)


def test_busy_is_said_only_to_whom_the_queue_refused(page):
    page.rejected_sessions.add("five")
    assert BUSY in page.failure_message("five").lower()
    assert BUSY not in page.failure_message("five").lower()
    assert "went wrong" in page.failure_message("six")


def test_a_program_without_a_session_gets_one_for_each_request():
    layout = pytest.importorskip("smilevlm.web.layout", exc_type=ImportError)
    nobody, somebody = SimpleNamespace(session_hash=None), SimpleNamespace(session_hash="abc")
    assert layout._session(nobody) != layout._session(nobody)
    assert layout._session(somebody) == "abc"


@pytest.mark.parametrize("port", [99999, 65536, 0])
def test_a_port_that_is_none(port):
    with pytest.raises(SettingsError, match=f"the port is {port}; expected 1 to 65535"):
        serve("default", WebSettings(), port=port)
