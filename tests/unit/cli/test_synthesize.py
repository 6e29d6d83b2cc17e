"""`smilevlm synthesize`: every layout with its own options, and an error for options of another layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smilevlm.cli import main
from smilevlm.cli.synthesize import _FLAGS, LAYOUTS, find_writer
from smilevlm.datasets import index_data_set
from smilevlm.synthesis import MARKER_NAME

QUICK = {
    "bu3dfe": ["--levels", "4", "--only-cropped"],
    "bu4dfe": ["--frames", "5", "--no-landmarks"],
    "bosphorus": ["--only-expressions"],
    "bp4d": ["--frames", "5"],
    "4dme": ["--clips", "1", "--amplitude", "2", "--class-shares", "as_4dme"],
}
WRITTEN = {
    "bu3dfe": ("F0001/F0001_NE00*_F3D.wrl", 1),
    "bu4dfe": ("F001/*/000.wrl", 6),
    "bosphorus": ("bs000/bs000_E_*.bnt", 6),
    "bp4d": ("F001/T*/*.obj", 8 * 5),
    "4dme": ("4D_micro/S01/*/001.obj", 1),
}


def synthesize(capsys, *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["synthesize", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "folder"])
def test_every_layout_can_be_written(layout, tmp_path, capsys):
    root = tmp_path / "faces"
    small = ["--subjects", 1, "--vertices", 1500, "--texture-size", 32, "--jobs", 1]
    code, out, _ = synthesize(capsys, layout, root, *small, *QUICK[layout])
    assert code == 0
    assert f"{root}: 1 synthetic subjects" in out
    marker = json.loads((root / MARKER_NAME).read_text())
    assert (marker["layout"], marker["synthetic"], marker["num_subjects"]) == (layout, True, 1)
    pattern, count = WRITTEN[layout]
    assert len(list(root.glob(pattern))) >= min(count, 5)


def test_varied_faces_as_a_folder(tmp_path, capsys):
    root = tmp_path / "faces"
    code, out, _ = synthesize(capsys, "folder", root, "--subjects", 1, "--filmed", 0, "--unlike", 0.5, "--jobs", 1)
    assert code == 0
    assert f"{root}: 1 synthetic subjects" in out
    marker = json.loads((root / MARKER_NAME).read_text())
    assert (marker["layout"], marker["strength"], marker["filmed_share"]) == ("folder", 0.5, 0.0)
    # Three neutral ones, one of each of six expressions, five of no class and one of two.
    assert len(list(index_data_set("folder", root).recordings)) == 15
    for options in (["--vertices", 1500], ["--population", "shifted"]):
        code, _, error = synthesize(capsys, "folder", tmp_path / "other", "--subjects", 1, *options)
        assert code == 1
        assert "folder" in error


def test_the_shifted_population_is_another_one(tmp_path, capsys):
    small = ["--subjects", 1, "--vertices", 1500, "--texture-size", 32, "--jobs", 1, *QUICK["bu3dfe"]]
    for name in ("default", "shifted"):
        assert synthesize(capsys, "bu3dfe", tmp_path / name, "--population", name, *small)[0] == 0
    markers = {name: json.loads((tmp_path / name / MARKER_NAME).read_text()) for name in ("default", "shifted")}
    assert "population" not in markers["default"]
    assert markers["shifted"]["population"]["dialect"] > 0
    # The worse scanner is as fine as was asked for.
    assert markers["shifted"]["scanner"]["num_vertices"] == 1500
    assert markers["shifted"]["scanner"]["noise_mm"] > markers["default"]["scanner"]["noise_mm"]
    code, _, error = synthesize(capsys, "bu3dfe", tmp_path / "default", "--population", "shifted", *small)
    assert code == 1
    assert "population" in error


def test_regular_acting_is_as_before_there_was_another(tmp_path, capsys, monkeypatch):
    import smilevlm.synthesis.bu4dfe as bu4dfe
    from smilevlm.synthesis.posed import REGULAR

    seen = []
    monkeypatch.setattr(bu4dfe, "synthesize_bu4dfe", lambda root, settings, **_: seen.append(settings) or 0)
    assert synthesize(capsys, "bu4dfe", tmp_path / "faces", "--regular", "--vertices", 3000)[0] == 0
    assert synthesize(capsys, "bu4dfe", tmp_path / "faces")[0] == 0
    assert (seen[0].acting, seen[0].scanner.flicker, seen[0].scanner.num_vertices) == (REGULAR, 0.0, 3000)
    assert seen[1].acting != REGULAR
    assert seen[1].scanner.flicker > 0


@pytest.mark.parametrize(
    ("layout", "option"),
    [(layout, option) for layout, offer in LAYOUTS.items() for option in _FLAGS if option not in offer.options],
)
def test_options_of_other_layouts_are_refused(layout, option, tmp_path, capsys):
    value = [] if option in ("with_raw", "with_others", "landmarks", "regular") else ["3"]
    value = ["balanced"] if option == "class_shares" else value
    code, out, error = synthesize(capsys, layout, tmp_path / "faces", _FLAGS[option], *value)
    assert code == 1
    assert error.splitlines() == [f"smilevlm synthesize: error: {layout} has no option {_FLAGS[option]}"]
    assert out == ""
    assert not Path(tmp_path / "faces").exists()


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_option_is_a_setting_of_its_layout(layout):
    """Names are looked up at run time, so a renamed setting must be found here."""
    make_settings, _ = find_writer(layout)
    settings = make_settings(num_subjects=1)
    for name in LAYOUTS[layout].options.values():
        place = settings.scanner if name.startswith("scanner.") else settings
        assert hasattr(place, name.removeprefix("scanner."))


def test_bosphorus_has_a_pitch_for_the_wanted_vertices(tmp_path, capsys, monkeypatch):
    import smilevlm.synthesis.bosphorus as bosphorus

    seen = []
    monkeypatch.setattr(bosphorus, "synthesize_bosphorus", lambda root, settings, **_: seen.append(settings) or 0)
    assert synthesize(capsys, "bosphorus", tmp_path / "faces", "--vertices", 5000, "--texture-size", 99)[0] == 0
    assert seen[0].scanner.pitch_mm == pytest.approx(2.0)
    assert seen[0].scanner.texture_width == 99
    assert seen[0].complete
    assert seen[0].num_subjects == 105
