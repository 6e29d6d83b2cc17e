"""Hostile and hopeless uploads, through the function that a worker calls."""

from __future__ import annotations

import gzip
import io
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from smilevlm.errors import MeshError
from smilevlm.readers import read_mesh, write_mesh
from smilevlm.web.checks import announced_vertices, check_upload
from smilevlm.web.server import find_examples
from smilevlm.web.settings import WebSettings

EXAMPLES = find_examples(None)


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refusal(path: Path, **changes) -> str:
    with pytest.raises(MeshError) as caught:
        check_upload(path, WebSettings(**changes))
    return caught.value.message


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_pass(name):
    scan = check_upload(EXAMPLES[name], WebSettings())
    assert scan.is_sequence == name.endswith("sequence")


def test_a_bomb_of_one_member(tmp_path):
    assert "unpacks to more than" in refusal(zipped(tmp_path / "scan.zip", {"000.obj": bytes(300_000_000)}))


def test_a_bomb_of_many_members(tmp_path):
    members = {f"{number:03d}.obj": bytes(1_000_000) for number in range(200)}
    assert "unpacks to more than" in refusal(zipped(tmp_path / "scan.zip", members))


def test_a_bomb_within_an_archive_is_never_opened(tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"000.obj": bytes(100_000_000)}).read_bytes()
    assert "no mesh" in refusal(zipped(tmp_path / "scan.zip", {f"{n}.zip": inner for n in range(20)}))


def test_members_that_share_their_bytes(tmp_path):
    # Every entry of the table points to the same packed bytes: small on disk, endless when unpacked.
    data = bytes(9_000_000)
    whole = zipped(tmp_path / "one.zip", {"000.obj": data}).read_bytes()
    start = whole.rfind(b"PK\5\6")
    first = whole.index(b"PK\1\2")
    entry, table = whole[first:start], b""
    for number in range(900):
        table += entry.replace(b"000.obj", f"{number:03d}.obj".encode())
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 900, 900, len(table), first, 0)
    path = written(tmp_path / "scan.zip", whole[:first] + table + end)
    assert "unpacks to more than" in refusal(path)


def test_an_archive_of_ten_thousand_members(tmp_path):
    members = {f"{number}.txt": b"" for number in range(10_000)}
    assert refusal(zipped(tmp_path / "scan.zip", members)) == "the archive holds more than 2000 files"


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../b.ply", "..\\..\\evil.ply"])
def test_names_that_lead_out(tmp_path, name):
    assert "leads out of the archive" in refusal(zipped(tmp_path / "scan.zip", {name: b"ply"}))


def test_an_absolute_name_stays_inside(tmp_path):
    good = EXAMPLES["happy scan"].read_bytes()
    scan = check_upload(zipped(tmp_path / "scan.zip", {"/etc/face.ply": good}), WebSettings())
    assert scan.frames[0].path == tmp_path / "scan.zip" / "etc" / "face.ply"
    assert list(tmp_path.iterdir()) == [tmp_path / "scan.zip"]


def test_a_link_is_never_followed(tmp_path):
    secret = written(tmp_path / "secret.ply", EXAMPLES["happy scan"].read_bytes())
    link = zipfile.ZipInfo("face.ply")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as archive:
        archive.writestr(link, str(secret))
    scan = check_upload(tmp_path / "scan.zip", WebSettings())
    with pytest.raises(MeshError, match="expected 'ply'"):
        read_mesh(scan.frames[0].path)


def test_an_archive_that_was_cut_off(tmp_path):
    whole = EXAMPLES["happy sequence"].read_bytes()
    for share in (0.1, 0.5, 0.99):
        assert "damaged archive: " in refusal(written(tmp_path / "scan.zip", whole[: int(share * len(whole))]))


def test_an_archive_of_several_scans(tmp_path):
    members = {name: EXAMPLES["happy scan"].read_bytes() for name in ("anna.ply", "ben.ply")}
    assert "2 scans or sequences" in refusal(zipped(tmp_path / "scan.zip", members))


def test_too_many_frames(tmp_path):
    assert refusal(EXAMPLES["happy sequence"], max_frames=5) == "the sequence has 6 frames; at most 5"


@pytest.mark.parametrize(("suffix", "data"), [(".ply", b""), (".zip", b""), (".obj", b"")])
def test_nothing(tmp_path, suffix, data):
    assert refusal(written(tmp_path / f"scan{suffix}", data)) == "the file is empty"


def test_an_unknown_suffix(tmp_path):
    assert "ends otherwise" in refusal(written(tmp_path / "scan.exe", b"MZ"))


def test_too_many_bytes(tmp_path):
    assert "at most 1 MB" in refusal(written(tmp_path / "scan.obj", bytes(1_500_000)), max_upload_mb=1)


HUGE = b"ply\nformat binary_little_endian 1.0\nelement vertex 10000000\nproperty float x\nend_header\n"


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".ply", HUGE),
        (".off", b"OFF\n# a remark\n10000000 3 0\n"),
        (".off", b"COFF 10000000 3 0\n"),
        (".obj", b"v 0 0 0\n" * 3_000_000),
        (".xyz", b"0 0 0\n" * 3_000_000),
        (".stl", bytes(80) + struct.pack("<L", 400_000) + bytes(50 * 400_000)),
        (".bnt", struct.pack("<2H", 4000, 4000)),
    ],
)
def test_ten_million_vertices_are_refused_by_what_the_file_says(tmp_path, suffix, data):
    assert "at most 150,000" in refusal(written(tmp_path / f"scan{suffix}", data), max_vertices=150_000)


@pytest.mark.parametrize("suffix", [".ply", ".off", ".obj"])
def test_vertices_are_counted_rightly(tmp_path, suffix):
    mesh = read_mesh(EXAMPLES["happy scan"])
    write_mesh(mesh, tmp_path / f"scan{suffix}")
    assert announced_vertices((tmp_path / f"scan{suffix}").read_bytes(), suffix) == mesh.num_vertices


def test_vertices_of_an_stl_are_counted_about_rightly(tmp_path):
    mesh = read_mesh(EXAMPLES["happy scan"])
    write_mesh(mesh, tmp_path / "scan.stl")
    count = announced_vertices((tmp_path / "scan.stl").read_bytes(), ".stl")
    assert abs(count - mesh.num_vertices) < 0.2 * mesh.num_vertices


def test_random_bytes_never_break_the_checks(tmp_path):
    rng = np.random.default_rng(0)
    for suffix in (".ply", ".off", ".obj", ".stl", ".bnt", ".xyz", ".wrl"):
        for size in (1, 3, 83, 84, 200):
            announced_vertices(rng.bytes(size), suffix)
    out = io.BytesIO(rng.bytes(400))
    assert refusal(written(tmp_path / "scan.zip", out.getvalue()))


@pytest.mark.parametrize("between", [b"#" * 60_000, b"# \n" * 20_000, b" " * 60_000, b"OFF " * 15_000, b"1 " * 30_000])
def test_counting_an_off_is_quick_whatever_it_holds(between):
    # Of this thread's own computing, which no other work on the machine lengthens: backtracking would take minutes.
    begun = time.thread_time()
    announced_vertices(b"OFF\n" + between + b"\nx", ".off")
    announced_vertices(b"OFF\n" + b"#" * 24 + b"\nx", ".off")
    assert time.thread_time() - begun < 1


def vrml(num_points: int, more: str = "") -> bytes:
    points = ", ".join(["0 0 0"] * num_points)
    return (
        f"#VRML V2.0 utf8\nShape {{ geometry IndexedFaceSet {{ coord DEF C Coordinate {{ point [ {points} ] }} "
        f"coordIndex [ 0, 1, 2, -1 ] }} }}\n{more}"
    ).encode()


USED_AGAIN = "Shape { geometry IndexedFaceSet { coord USE C coordIndex [ 0, 1, 2, -1 ] } }\n"


PROTOTYPE = vrml(300).decode().partition("\n")[2]
INSTANCES = f"#VRML V2.0 utf8\nPROTO P [ ] {{ {PROTOTYPE} }} {'P { } ' * 9}".encode()
GRID = b"#VRML V2.0 utf8\nElevationGrid { xDimension 60 zDimension 20 height [ " + b"0 " * 1200 + b"] }"


@pytest.mark.parametrize(
    "last",
    [vrml(1200), vrml(300, USED_AGAIN * 9), vrml(300, USED_AGAIN.replace("USE", "use") * 9), INSTANCES, GRID],
    ids=["long", "repeated", "lower case", "instances", "grid"],
)
def test_every_vrml_frame_is_counted(tmp_path, last):
    frames = {**{f"00{number}.wrl": vrml(300) for number in range(5)}, "005.wrl": last}
    said = refusal(zipped(tmp_path / "scan.zip", frames), max_vertices=1000)
    assert said.endswith("vertices; at most 1,000")
    frames["005.wrl"] = vrml(300)
    assert check_upload(zipped(tmp_path / "good.zip", frames), WebSettings()).is_sequence


def test_a_large_frame_of_another_kind_is_counted(tmp_path):
    frames = {**{f"00{number}.obj": b"v 0 0 0\n" * 300 for number in range(5)}, "005.obj": b"v 0 0 0\n" * 1200}
    assert "1,200 vertices" in refusal(zipped(tmp_path / "scan.zip", frames), max_vertices=1000)


def test_a_small_compressed_frame_that_holds_much_is_counted(tmp_path):
    frames = {f"00{number}.obj.gz": gzip.compress(b"v 0 0 0\n" * 300) for number in range(5)}
    frames["005.obj.gz"] = gzip.compress(b"v 0 0 0\n" * 1200)
    assert "1,200 vertices" in refusal(zipped(tmp_path / "scan.zip", frames), max_vertices=1000)


def test_small_frames_are_unpacked_once_by_the_reader(monkeypatch):
    monkeypatch.setattr("smilevlm.web.checks.read_file", lambda path: pytest.fail(f"{path} was unpacked to be counted"))
    assert len(check_upload(EXAMPLES["happy sequence"], WebSettings()).frames) == 6


def test_a_damaged_frame_is_left_to_the_reader(tmp_path):
    frames = {"000.wrl": vrml(1200, "Shape { USE nothing }"), **{f"00{n}.wrl": vrml(30) for n in range(1, 6)}}
    assert check_upload(zipped(tmp_path / "scan.zip", frames), WebSettings(max_vertices=1000)).is_sequence
