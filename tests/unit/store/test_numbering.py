"""Which numbered files are frames: many, consecutive, alike; and what is said when it might be read otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from smilevlm.store.numbering import counted_remarks, read_numbering, remark_kind


def ply(num_vertices: int) -> bytes:
    return f"ply\nformat ascii 1.0\nelement vertex {num_vertices}\nend_header\n".encode()


def written(root: Path, names: list[str], counts: list[int] | None = None) -> list[Path]:
    for number, name in enumerate(names):
        (root / name).write_bytes(ply(5 if counts is None else counts[number]))
    return [root / name for name in names]


SEQUENCES = {
    "recorded": [f"{number:03d}.ply" for number in range(6)],
    "recorded, not from zero": [f"{number:04d}.ply" for number in range(731, 760)],
    "recorded, with a gap": [f"{number:03d}.ply" for number in (7, 8, 10, 11, 12, 13)],
    "frames": [f"happy_frame_{number}.ply" for number in range(9, 16)],
    "CoMA": [f"bareteeth.{number:06d}.ply" for number in range(1, 40)],
    "text and number": [f"happy_{number}.ply" for number in range(1, 9)],
    "digits of any width": [f"{number}.ply" for number in range(12)],
    "compressed": [f"{number:03d}.ply.gz" for number in range(8)],
    "no vertices announced": [f"happy_{number:02d}.wrl" for number in range(8)],
}
SCANS = {
    "few poses": ["pose_0.ply", "pose_1.ply", "pose_2.ply"],
    "poses of FaceWarehouse": [f"pose_{number}.ply" for number in range(20)],
    "two people": ["person1.ply", "person2.ply"],
    "many people": [f"Subject-{number:03d}.ply" for number in range(50)],
    "one per expression": [f"anna_{number}.ply" for number in range(1, 8)],
    "few digits": [f"{number:03d}.ply" for number in range(5)],
    "tens": [f"yaw_{number}.ply" for number in range(0, 100, 10)],
    "two numbers missing": [f"{number:03d}.ply" for number in (0, 1, 2, 5, 6, 7, 8, 9)],
    "ages": [f"a{number}.ply" for number in (18, 21, 22, 30, 34, 41, 55, 60)],
}


@pytest.mark.parametrize("names", SEQUENCES.values(), ids=SEQUENCES)
def test_sequences(tmp_path, names):
    found = read_numbering(list(reversed(written(tmp_path, names))))
    assert [frame.path.name for frame in found.frames] == names
    assert found.remark.startswith(f"sequence of {len(names)} frames; for a row each: --scans")
    assert read_numbering([tmp_path / name for name in names], "scans").frames == ()


@pytest.mark.parametrize("names", SCANS.values(), ids=SCANS)
def test_single_scans(tmp_path, names):
    found = read_numbering(written(tmp_path, names))
    assert found.frames == ()
    assert f"{len(names)} numbered files ({names[0]} to {names[-1]}) were read as single scans" in found.remark
    assert "--sequence" in found.remark
    assert len(read_numbering([tmp_path / name for name in names], "sequence").frames) == len(names)


def test_single_scans_differ_in_their_vertices_and_recorded_frames_may(tmp_path):
    counts = [5, 6, 7, 8, 9, 10, 11, 12]
    assert "number of vertices" in read_numbering(written(tmp_path, [f"f{n}.ply" for n in range(8)], counts)).remark
    assert len(read_numbering(written(tmp_path, [f"{n:03d}.ply" for n in range(8)], counts)).frames) == 8


@pytest.mark.parametrize("numbered_as", ["auto", "scans", "sequence"])
@pytest.mark.parametrize(
    "names", [[], ["1.ply"], ["1.ply", "2.obj"], ["a1.ply", "b2.ply"], ["1.ply", "01.ply"], ["1.ply", "x.ply"]]
)
def test_files_that_are_not_numbered_alike_need_no_remark(tmp_path, names, numbered_as):
    found = read_numbering(written(tmp_path, names), numbered_as)
    assert (found.frames, found.remark) == ((), "")


def test_remarks_of_frames_are_counted():
    faces = [f"{number} of 100 faces name vertices that are not there" for number in (3, 4)]
    remarks = {"000.ply": (faces[0], "cut"), "001.ply": (), "002.ply": (faces[1],)}
    assert counted_remarks(remarks) == (
        f"2 of 3 frames, such as 000.ply: {faces[0]}",
        "1 of 3 frames, such as 000.ply: cut",
    )
    assert counted_remarks({"000.ply": ()}) == ()
    kinds = {remark_kind(text) for text in (*faces, counted_remarks(remarks)[0])}
    assert kinds == {"N of N faces name vertices that are not there"}
