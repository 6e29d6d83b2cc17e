"""The table of actions beside synthetic faces: complete whatever was interrupted, and named as the index names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from smilevlm.datasets import index_data_set
from smilevlm.labels import NEUTRAL
from smilevlm.readers import ACTIONS_NAME, read_action_table
from smilevlm.synthesis.bosphorus import recorded_actions
from smilevlm.synthesis.bosphorus_plan import PlannedScan
from smilevlm.synthesis.data_set import Layout, SubjectFolder
from smilevlm.synthesis.recording import gather_actions, record_part

ACTIONS = {"F001": {"F001_b": {"AU12": (0.5, 0.5)}, "F001_a": {}}, "F002/T1": {"F002_T1": {"AU4": (0.25, 1.0)}}}


def table(root: Path) -> dict:
    return {name: each.intensities for name, each in read_action_table(root / ACTIONS_NAME).items()}


def test_parts_come_together_and_leave_nothing_behind(tmp_path):
    for path, actions in ACTIONS.items():
        record_part(tmp_path, path, actions)
    gather_actions(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [ACTIONS_NAME]
    assert table(tmp_path) == {**ACTIONS["F001"], **ACTIONS["F002/T1"]}


def test_a_part_that_comes_later_or_again(tmp_path):
    record_part(tmp_path, "F001", ACTIONS["F001"])
    gather_actions(tmp_path)
    first = (tmp_path / ACTIONS_NAME).read_bytes()
    gather_actions(tmp_path)
    assert (tmp_path / ACTIONS_NAME).read_bytes() == first
    record_part(tmp_path, "F002/T1", ACTIONS["F002/T1"])
    record_part(tmp_path, "F001", {"F001_a": {"AU1": (0.1, 0.1)}})
    gather_actions(tmp_path)
    assert table(tmp_path)["F002_T1"] == {"AU4": (0.25, 1.0)}
    assert table(tmp_path)["F001_a"] == {"AU1": (0.1, 0.1)}


def test_a_data_set_that_recorded_nothing_has_no_table(tmp_path):
    gather_actions(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_actions_of_a_part_are_there_before_the_part(tmp_path, monkeypatch):
    def write(_root: Path, folder: Path, part: SubjectFolder, _settings: None) -> dict:
        (folder / "scan").write_text("x")
        return {part.path: {}}

    layout: Layout = Layout(name="test", plan=lambda _: [], write=write)
    monkeypatch.setattr("smilevlm.synthesis.data_set.record_part", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layout.write_part(tmp_path, SubjectFolder(number=0, path="F001"), None)
    assert not (tmp_path / "F001").exists()


def test_every_scan_of_bu3dfe_has_its_actions(synthetic_faces):
    index = index_data_set("bu3dfe", synthetic_faces)
    assert table(synthetic_faces).keys() == {recording.sample_id for recording in index.recordings}
    assert index.action_source == "by construction"
    actions = {recording.sample_id: recording.actions or {} for recording in index.recordings}
    strongest = {r.sample_id: max((max(s) for s in actions[r.sample_id].values()), default=0) for r in index.recordings}
    resting = [strongest[r.sample_id] for r in index.recordings if r.expression == NEUTRAL]
    happy = [actions[r.sample_id].get("AU12", (0, 0)) for r in index.recordings if r.expression == "happy"]
    assert happy
    assert min(map(max, happy)) > max(resting) / 2


def test_what_no_blend_shape_shows_is_unjudged_unless_the_layout_records_it(tmp_path):
    record_part(tmp_path, "F001", {"F001_a": {"AU1": (0.1, 0.1)}})
    record_part(tmp_path, "F002", {"F002_a": {}, "F002_b": {"AU23": (0.5, 0.5)}}, judged=("AU23",))
    gather_actions(tmp_path)
    recorded = read_action_table(tmp_path / ACTIONS_NAME)
    assert recorded["F001_a"].unjudged == ("AU11", "AU13", "AU23")
    assert recorded["F002_a"].unjudged == recorded["F002_b"].unjudged == ("AU11", "AU13")


def test_tightened_lips_of_bosphorus_are_not_sucked_in():
    rolled = {"mouthRollUpper": 0.45, "mouthRollLower": 0.6}
    tightened, sucked = (PlannedScan(subject="bs000", kind="LFAU", code=code) for code in ("23", "28"))
    assert recorded_actions(tightened, rolled) == {"AU23": (1.0, 1.0)}
    assert recorded_actions(sucked, rolled) == {"AU28": (1.0, 1.0)}
    weak = PlannedScan(subject="bs000", kind="LFAU", code="12LW")
    assert recorded_actions(weak, {"mouthSmileLeft": 0.2, "jawLeft": 0.11}) == {
        "AU12": (0.6, 0.6),
        "AD30": (pytest.approx(0.1), 0.0),
    }
