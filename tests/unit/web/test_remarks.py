"""What should be known beside an answer reaches the page."""

from __future__ import annotations

import zipfile

from smilevlm.predict import load
from smilevlm.web.messages import details
from smilevlm.web.server import find_examples
from smilevlm.web.settings import WebSettings
from smilevlm.web.work import Recognise

EXAMPLES = find_examples(None)


def test_files_of_an_archive_that_were_passed_over_are_said(trained_run, tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr("face.ply", EXAMPLES["happy scan"].read_bytes())
        archive.writestr("<b>.max", "x")
    answer = Recognise(path=tmp_path / "scan.zip")(load(trained_run), WebSettings()).prediction
    (remark,) = answer.remarks
    assert remark.startswith("1 file in scan.zip passed over: 1 .max (<b>.max: a scene of a 3D editor")
    assert "&lt;b&gt;.max" in details(answer)


def test_a_sequence_is_called_one(trained_run):
    answer = Recognise(path=EXAMPLES["happy sequence"])(load(trained_run), WebSettings()).prediction
    assert answer.remarks[0].startswith("sequence of 6 frames")
    assert "sequence of 6 frames" in details(answer)
