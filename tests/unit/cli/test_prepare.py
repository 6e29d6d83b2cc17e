"""`smilevlm prepare`: options, summary, pictures."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from smilevlm.cli import main
from smilevlm.cli.arguments import LAYOUT_NAMES
from smilevlm.readers import write_mesh
from smilevlm.store import read_manifest


@pytest.fixture
def prepare(capsys):
    def run(*arguments) -> tuple[int, str, str]:
        code = main(["prepare", *map(str, arguments), "--jobs", "1"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_layouts_are_those_of_the_data_sets():
    from smilevlm.datasets import LAYOUTS

    assert tuple(LAYOUTS) == LAYOUT_NAMES


def test_only_what_a_protocol_uses(prepare, synthetic_faces, tmp_path):
    store = tmp_path / "store"
    code, out, _ = prepare("bu3dfe", synthetic_faces, store, "--size", "32", "--protocol", "bu3dfe_subset1")
    assert code == 0
    assert read_manifest(store).num_samples == 12, "two people, six expressions, without neutral"
    assert out.splitlines()[-1] == str(store / "overview.png")
    assert (store / "overview.png").is_file()


def test_dynamics_reach_the_settings(prepare, synthetic_faces, tmp_path):
    options = ("--pooling", "exact", "--span", "windows", "--frames", "0", "--window", "30", "--stride", "10")
    code, _, _ = prepare("bu3dfe", synthetic_faces, tmp_path / "store", "--size", "16", *options)
    assert code == 0
    dynamics = read_manifest(tmp_path / "store").settings.dynamics
    assert (dynamics.pooling, dynamics.span, dynamics.num_frames) == ("exact", "windows", None)
    assert (dynamics.window, dynamics.stride, dynamics.apex) == (30, 10, "labels")
    phases = ("--span", "both_phases", "--apex", "automatic")
    assert prepare("bu3dfe", synthetic_faces, tmp_path / "phases", "--size", "16", *phases)[0] == 0
    dynamics = read_manifest(tmp_path / "phases").settings.dynamics
    assert (dynamics.span, dynamics.apex) == ("both_phases", "automatic")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--protocol", "bu3dfe_subset9"), "no protocol 'bu3dfe_subset9'"),
        (("--frames", "1"), "num_frames is 1"),
        (("--size", "4"), "size is 4"),
        (("--apex", "automatic"), "apex is 'automatic', but span 'sequence' has no phases"),
        (("--scheduler", "nonsense"), "nonsense"),
    ],
)
def test_a_wrong_option_is_one_line(prepare, synthetic_faces, tmp_path, options, message):
    code, _, err = prepare("bu3dfe", synthetic_faces, tmp_path / "store", *options)
    assert code == 1
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


def test_many_bad_scans_are_listed_shortly_and_kept_in_full(prepare, synthetic_faces, tmp_path):
    root = tmp_path / "faces"
    for subject in ("F0001", "M0001"):
        shutil.copytree(synthetic_faces / subject, root / subject, ignore=shutil.ignore_patterns("*RAW*", "*F2D*"))
    for number in range(30):
        name = f"F{100 + number:04d}"
        (root / name).mkdir()
        (root / name / f"{name}_HA04WH_F3D.wrl").write_text("#VRML V2.0 utf8\n")
    code, out, err = prepare("bu3dfe", root, tmp_path / "store", "--size", "16")
    assert code == 0
    assert len([line for line in out.splitlines() if line.startswith("skipped ")]) == 20
    assert "... and 10 more; all are in" in out
    assert len(json.loads((tmp_path / "store" / "manifest.json").read_text())["skipped"]) == 30
    assert "problems in this copy" in err


def test_what_was_left_out_is_recorded_and_counted(prepare, frontal_faces, tmp_path, capsys):
    scan = tmp_path / "faces" / "anna" / "happy" / "scan.obj"
    scan.parent.mkdir(parents=True)
    write_mesh(replace(frontal_faces["happy"], uv=None, texture=None), scan)
    with scan.open("a") as file:
        file.write("f 1 2 9999999\n")
    (scan.parent / "photo.jpg").write_bytes(b"x")
    shutil.copy(scan, scan.parent / "pose_1.obj")
    shutil.copy(scan, scan.parent / "pose_2.obj")
    scan.unlink()
    code, out, err = prepare("folder", tmp_path / "faces", tmp_path / "store", "--size", "16")
    assert code == 0
    remarks = read_manifest(tmp_path / "store").remarks
    assert [remark.sample_id for remark in remarks] == ["anna_happy_pose_1", "anna_happy_pose_2"]
    assert "faces" in remarks[0].text
    (line,) = [line for line in out.splitlines() if line.startswith("remark: ")]
    assert line.endswith(": 2 scans or sequences")
    assert "remark: anna/happy: 2 numbered files (pose_1.obj to pose_2.obj) were read as single scans" in err
    assert "remark: 1 file in faces passed over: 1 .jpg" in err
    code, _, err = prepare("folder", tmp_path / "faces", tmp_path / "store", "--size", "16", "--sequence")
    assert code == 1
    assert "--scans and --sequence" in err
    assert main(["check", "folder", str(tmp_path / "faces"), "--jobs", "1", "--sequence"]) == 0
    said = capsys.readouterr().out
    assert "remark: anna/happy: sequence of 2 frames, as was asked for" in said
    assert f"{line.removesuffix(': 2 scans or sequences')}: 2 frames" in said
    assert prepare("bu3dfe", tmp_path / "faces", tmp_path / "other", "--scans")[0] == 1


@pytest.mark.parametrize("command", ["check", "prepare"])
def test_one_way_to_read_numbered_files(command, tmp_path, capsys):
    store = [str(tmp_path / "store")] if command == "prepare" else []
    with pytest.raises(SystemExit):
        main([command, "folder", str(tmp_path), *store, "--scans", "--sequence"])
    assert "not allowed with" in capsys.readouterr().err
