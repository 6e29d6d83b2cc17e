from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import builders
from smilevlm.datasets import find_layout
from smilevlm.datasets.bu3dfe import index_bu3dfe, read_bu3dfe_scan
from smilevlm.errors import LandmarkError, LayoutError
from smilevlm.labels import BASIC_EXPRESSIONS, NEUTRAL
from smilevlm.synthesis import MARKER_NAME


def tiny(root: Path, *names: str, bnd: bool = True) -> Path:
    """A copy of the data set with tiny meshes under these names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(builders.vrml())
        if bnd:
            path.with_suffix(".bnd").write_text(builders.bnd())
    return root


def ids(root: Path) -> list[str]:
    return [record.sample_id for record in index_bu3dfe(root).records]


def test_the_synthetic_set(synthetic_faces):
    index = index_bu3dfe(synthetic_faces)
    assert index.synthetic
    assert index.layout == "bu3dfe"
    assert index.remarks == ()
    assert index.subjects == ("F0001", "M0001")
    assert len(index.records) == 14
    expected = {(NEUTRAL, 0), *((name, 4) for name in BASIC_EXPRESSIONS)}
    for subject in index.subjects:
        assert {(r.expression, r.level) for r in index.records if r.subject == subject} == expected
    assert len({r.sample_id for r in index.records}) == 14
    assert [r.sample_id for r in index.records] == sorted(r.sample_id for r in index.records)
    for record in index.records:
        assert record.path.is_file()
        assert record.path.name == f"{record.sample_id}_F3D.wrl"
        assert record.landmark_path == record.path.with_suffix(".bnd")


def test_a_scan_with_its_landmarks(synthetic_faces):
    record = index_bu3dfe(synthetic_faces).records[0]
    mesh = read_bu3dfe_scan(record, load_landmarks=True)
    assert len(mesh.landmarks) == 83
    assert not read_bu3dfe_scan(record).landmarks
    assert mesh.texture is None
    textured = find_layout("bu3dfe").read_textured_scan(record)
    assert textured.texture.shape == (64, 64, 3)
    np.testing.assert_array_equal(textured.vertices, mesh.vertices)


def test_an_official_looking_copy_is_not_synthetic_and_its_count_is_remarked(tmp_path):
    index = index_bu3dfe(tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl"))
    assert not index.synthetic
    assert index.remarks == ("1 subjects found, the data set has 100",)
    (tmp_path / MARKER_NAME).write_text("{}")
    assert index_bu3dfe(tmp_path).synthetic


def test_an_extra_folder_and_files_are_left_out(tmp_path):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", "tools/F0009_AN01WH_F3D.wrl", ".git/F0009_AN01WH_F3D.wrl")
    (tmp_path / "F0001" / "F0001_AN01WH_RAW.wrl").write_bytes(b"")
    (tmp_path / "F0001" / "F0001_AN01WH_F2D.bmp").write_bytes(b"")
    (tmp_path / "readme.txt").write_text("")
    assert ids(tmp_path) == ["F0001_AN01WH"]
    assert index_bu3dfe(tmp_path).remarks[0] == "folder tools is no subject folder and was left out"


def test_a_scan_without_landmarks(tmp_path):
    record = index_bu3dfe(tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", bnd=False)).records[0]
    assert record.landmark_path is None
    assert read_bu3dfe_scan(record).landmarks == {}


def test_a_broken_landmark_file_is_not_passed_over(tmp_path):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl")
    (tmp_path / "F0001" / "F0001_AN01WH_F3D.bnd").write_text(builders.bnd(82))
    record = index_bu3dfe(tmp_path).records[0]
    with pytest.raises(LandmarkError, match="82 landmarks"):
        read_bu3dfe_scan(record, load_landmarks=True)
    # It costs no scan where landmarks are not asked for, as in preparation.
    assert read_bu3dfe_scan(record).num_vertices


def test_an_unknown_race_code_is_kept_with_a_remark(tmp_path):
    index = index_bu3dfe(tiny(tmp_path, "F0001/F0001_AN01XX_F3D.wrl"))
    assert [r.sample_id for r in index.records] == ["F0001_AN01XX"]
    assert any("unknown race code XX; it was kept" in remark for remark in index.remarks)


@pytest.mark.parametrize("name", ["NE01WH", "AN00WH", "HA05WH", "SU12WH"])
def test_a_level_that_the_expression_does_not_have(tmp_path, name):
    tiny(tmp_path, "F0001/F0001_SA02WH_F3D.wrl", f"F0001/F0001_{name}_F3D.wrl")
    index = index_bu3dfe(tmp_path)
    assert [r.sample_id for r in index.records] == ["F0001_SA02WH"]
    assert any(
        f"F0001_{name}_F3D.wrl has level {name[2:4]}, which {name[:2]} does not have" in r for r in index.remarks
    )


def test_another_subjects_scan_is_left_out(tmp_path):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", "F0001/F0002_AN01WH_F3D.wrl")
    index = index_bu3dfe(tmp_path)
    assert [r.sample_id for r in index.records] == ["F0001_AN01WH"]
    assert any("F0002_AN01WH_F3D.wrl names subject F0002; it was left out" in remark for remark in index.remarks)


@pytest.mark.parametrize("name", ["F0001_XX01WH", "F0001_AN1WH", "F0001AN01WH", "F0001_AN01W", "copy of F0001_AN01WH"])
def test_names_outside_the_grammar(tmp_path, name):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", f"F0001/{name}_F3D.wrl")
    index = index_bu3dfe(tmp_path)
    assert [r.sample_id for r in index.records] == ["F0001_AN01WH"]
    assert any(f"F0001/{name}_F3D.wrl does not follow" in remark for remark in index.remarks)


def test_lower_case_names(tmp_path):
    index = index_bu3dfe(tiny(tmp_path, "m0003/m0003_ne00ae_f3d.wrl"))
    (record,) = index.records
    assert (record.sample_id, record.subject, record.expression, record.level) == ("M0003_NE00AE", "M0003", NEUTRAL, 0)
    assert len(read_bu3dfe_scan(record, load_landmarks=True).landmarks) == 83


def test_one_scan_in_two_spellings_is_counted_once(tmp_path):
    """A second copy of one scan must not enter twice under one id: the store's rows and digests go by id."""
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", "F0001/f0001_an01wh_f3d.wrl")
    index = index_bu3dfe(tmp_path)
    assert len(index.records) == len({record.sample_id for record in index.records})


def test_one_subject_in_two_folders_is_counted_once(tmp_path):
    tiny(tmp_path, "F0001/F0001_AN01WH_F3D.wrl", "f0001/F0001_AN01WH_F3D.wrl")
    index = index_bu3dfe(tmp_path)
    assert len(index.records) == len({record.sample_id for record in index.records})


def test_a_root_one_folder_too_high_or_too_low(tmp_path):
    tiny(tmp_path, "original/F0001/F0001_AN01WH_F3D.wrl")
    for root in (tmp_path, tmp_path / "original" / "F0001"):
        with pytest.raises(LayoutError, match=r"F0001/F0001_AN01WH_F3D.wrl \(does the path end one folder too high"):
            index_bu3dfe(root)
    assert ids(tmp_path / "original") == ["F0001_AN01WH"]


def test_a_root_that_is_no_folder(tmp_path):
    with pytest.raises(LayoutError, match="is not a folder; expected BU-3DFE's root"):
        index_bu3dfe(tmp_path / "nowhere")


def test_a_subset_of_a_synthetic_set_keeps_its_marker(synthetic_faces, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(synthetic_faces, root)
    shutil.rmtree(root / "M0001")
    index = index_bu3dfe(root)
    assert index.subjects == ("F0001",)
    assert index.remarks == ()
