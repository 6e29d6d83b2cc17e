"""Load and hostility test of the web page: everyone at once, and then what nobody should send.

    .venv/bin/python benchmarks/web_load.py --model RUN --at-once 20 [--queue 5 --no-hostile]

Starts a page of its own, sends that many uploads at the same moment through Gradio's own client, and says how many were
answered, how many were politely refused (`--queue 5` makes the queue full; it is counted only where the page then says
"busy") and how many failed otherwise, how long they took, what memory the server has before and after, and what is left
in its folder. Then it sends hostile files over HTTP and says what came back, and whether the page still answers.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import psutil
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from smilevlm.web.page import FIND
from smilevlm.web.server import find_examples

PATIENCE_S = 300.0
REFUSED = "refused: "

SERVE = (
    "import sys; from smilevlm.web import WebSettings, serve; "
    "serve(sys.argv[1], WebSettings(queue=int(sys.argv[3]), timeout_s=60), port=int(sys.argv[2]))"
)


class Page:
    """A served page of its own."""

    def __init__(self, model: str, home: Path, queue: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address, self.home = f"http://127.0.0.1:{port}", home
        self._log = home / "log"
        command = [sys.executable, "-W", "ignore", "-c", SERVE, model, str(port), str(queue)]
        begun = time.perf_counter()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stderr=log, env={**os.environ, "TMPDIR": str(home)})
        while "Ctrl-C" not in self._log.read_text():
            if self._process.poll() is not None:
                raise SystemExit(self._log.read_text())
            time.sleep(0.1)
        print(f"page ready after {time.perf_counter() - begun:.1f} s")

    def memory_mb(self) -> dict[str, int]:
        server = psutil.Process(self._process.pid)
        workers = sum(child.memory_info().rss for child in server.children(recursive=True))
        return {"server": server.memory_info().rss // 10**6, "workers": workers // 10**6}

    def files(self) -> list[str]:
        root = next(self.home.glob("smilevlm-web-*"))
        return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".lock"]

    def close(self) -> str:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        return self._log.read_text()


def visitor(address: str) -> Client:
    """Somebody who has the page open."""
    return Client(address, verbose=False, httpx_kwargs={"timeout": PATIENCE_S})


def ask(client: Client, path: Path) -> str:
    """Upload and answer as the page does it; the verdict, or the sentence that the visitor is left with."""
    try:
        taken = str(client.predict(handle_file(path), api_name="/take"))
        said = taken if "message error" in taken else str(client.predict("", FIND, FIND, api_name="/recognise"))
    except QueueError:
        # Then the page in a browser asks for its sentence, past the queue.
        asked = {"data": [], "session_hash": client.session_hash}
        answer = httpx.post(f"{client.src}gradio_api/run/failed", json=asked, timeout=PATIENCE_S)
        return REFUSED + in_message(str(answer.json()))
    except Exception as error:
        # Whatever the client raises is the server's answer: what it says is what is reported.
        return "by the server: " + (str(error) or repr(error)).splitlines()[0][:120]
    verdict = re.search(r'class="verdict">(.*?)</p>', said)
    return "answered: " + verdict[1] if verdict else in_message(said)


def in_message(said: str) -> str:
    """The sentence of a message of the page."""
    found = re.search(r'class="message error"[^>]*>(.*?)</p>', said)
    return unescape(found[1]) if found else "nothing understandable: " + said[:200]


def everyone_at_once(page: Page, number: int) -> None:
    examples = list(find_examples(None).values())
    visitors = [visitor(page.address) for _ in range(number)]
    ask(visitors[0], examples[0])
    print("memory before, MB:", page.memory_mb())
    start = threading.Barrier(number)
    results: list[tuple[float, str]] = []

    def visit(client: Client, path: Path) -> None:
        start.wait()
        begun = time.perf_counter()
        said = ask(client, path)
        results.append((time.perf_counter() - begun, said))

    threads = [
        threading.Thread(target=visit, args=(client, examples[k % len(examples)])) for k, client in enumerate(visitors)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = [seconds for seconds, said in results if said.startswith("answered")]
    others = [said for _, said in results if not said.startswith("answered")]
    politely = sum(said.startswith(REFUSED + "Busy") for said in others)
    print(
        f"{number} at once: {len(answered)} answered, {politely} refused politely by the queue, "
        f"{len(others) - politely} failed otherwise, {number - len(results)} lost"
    )
    if answered:
        print(
            f"  seconds: first {min(answered):.1f}, median {statistics.median(answered):.1f}, last {max(answered):.1f}"
        )
    for said in sorted(set(others)):
        print(f"  {others.count(said)} x {said}")
    print("memory after, MB:", page.memory_mb())
    for client in visitors:
        client.close()


def hostile_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """What nobody should send, by a name for the table."""
    good = find_examples(None)["happy scan"].read_bytes()

    def written(name: str, data: bytes) -> Path:
        place = folder / str(len(list(folder.iterdir())))
        place.mkdir()
        (place / name).write_bytes(data)
        return place / name

    def archive(members: dict[str, bytes]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, data in members.items():
                opened.writestr(name, data)
        return out.getvalue()

    bomb = archive({"000.obj": bytes(10**9)})
    yield "zip bomb, 1 GB in one member", written("bomb.zip", bomb)
    yield (
        "zip bomb, 200 members of 5 MB",
        written("many.zip", archive({f"{n}.obj": bytes(5 * 10**6) for n in range(200)})),
    )
    yield "zip within a zip, 20 times", written("nested.zip", archive({f"{n}.zip": bomb for n in range(20)}))
    yield "member ../../etc/passwd", written("out.zip", archive({"../../etc/passwd": good}))
    yield "member /etc/passwd", written("root.zip", archive({"/etc/passwd": b"x"}))
    yield "100,000 members", written("members.zip", archive({f"{n}.txt": b"" for n in range(100_000)}))
    yield "truncated zip", written("cut.zip", find_examples(None)["happy sequence"].read_bytes()[:200_000])
    yield "truncated PLY", written("cut.ply", good[:50_000])
    yield "PNG named .ply", written("picture.ply", b"\x89PNG\r\n\x1a\n" + bytes(1000))
    yield "empty file", written("empty.obj", b"")
    yield "program", written("run.exe", b"MZ")
    yield "NaN coordinates", written("nan.obj", b"v nan nan nan\n" * 5000 + b"f 1 2 3\n")
    header = "ply\nformat binary_little_endian 1.0\nelement vertex {}\n" + "".join(
        f"property char {c}\n" for c in "xyz"
    )
    yield "PLY that announces 10^10 vertices", written("liar.ply", (header.format(10**10) + "end_header\n").encode())
    body = bytes(3 * 10**7)
    yield "ten-million-vertex PLY, 30 MB", written("ten.ply", (header.format(10**7) + "end_header\n").encode() + body)
    yield "OBJ of ten million vertices, 80 MB", written("ten.obj", b"v 0 0 0\n" * 10**7)
    triangles = struct.pack("<L", 900_000)
    yield "STL of 900,000 equal triangles, 45 MB", written("flat.stl", bytes(80) + triangles + bytes(50 * 900_000))
    yield "mesh that is no face (cube)", written("cube.obj", cube())
    yield "OBJ that names other files", written("names.obj", b"mtllib /etc/passwd\nusemtl a\n" + cube())
    yield "VRML of 10^6 open brackets", written("deep.wrl", b"#VRML V2.0 utf8\n" + b"Group { children [" * 10**6)


def cube() -> bytes:
    grid = [f"v {x} {y} {z}" for x in range(0, 101, 10) for y in range(0, 101, 10) for z in range(0, 101, 10)]
    return ("\n".join(grid) + "\n" + "".join(f"f {k} {k + 1} {k + 12}\n" for k in range(1, 1200))).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default", help="what `smilevlm predict --model` takes")
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--queue", type=int, default=30)
    parser.add_argument("--no-hostile", action="store_true", help="only everyone at once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as sent:
        page = Page(arguments.model, Path(home), arguments.queue)
        try:
            everyone_at_once(page, arguments.at_once)
            if arguments.no_hostile:
                return
            someone = visitor(page.address)
            for name, path in hostile_files(Path(sent)):
                begun = time.perf_counter()
                said = ask(someone, path)
                print(f"| {name} | {said} | {time.perf_counter() - begun:.1f} s |", flush=True)
            print("then:", ask(someone, find_examples(None)["happy scan"]))
            print("memory at the end, MB:", page.memory_mb())
            someone.close()
            print("files left at once:", len(page.files()))
            time.sleep(90)
            print("files left after 90 s:", page.files())
        finally:
            log = page.close()
            print("folder left behind:", [path.name for path in Path(home).iterdir() if path.name != "log"])
            print("server's log:", log.strip()[:2000])


if __name__ == "__main__":
    main()
