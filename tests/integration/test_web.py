"""The page in a real browser: upload, answer, words of one's own, relevance, download, a sequence, refusals.

Set `SMILEVLM_WEB_MODEL` to show another model than a tiny one, and `SMILEVLM_WEB_PICTURES` to a folder to keep the
screenshots of the documentation.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smilevlm.web.server import find_examples

pytest.importorskip("gradio")
pytest.importorskip("selenium")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver"),
]

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--hide-scrollbars",
)  # fmt: skip
SERVE = (
    "import sys; from smilevlm.web import WebSettings, serve; "
    "serve(sys.argv[1], WebSettings(**eval(sys.argv[3])), port=int(sys.argv[2]))"
)
WAIT_S = 300
TOAST = "[data-testid=toast-body]"


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    """Address and temporary folder of a page that is served."""
    with served(request, tmp_path_factory.mktemp("web"), max_upload_mb=2, max_frames=20) as page:
        yield page


@pytest.fixture(scope="module")
def strict_server(request, tmp_path_factory):
    """The same with hardly any queue and patience."""
    with served(request, tmp_path_factory.mktemp("strict"), queue=1, timeout_s=15) as page:
        yield page


@contextlib.contextmanager
def served(request, home: Path, **settings) -> Iterator[tuple[str, Path]]:
    model = os.environ.get("SMILEVLM_WEB_MODEL") or str(request.getfixturevalue("trained_run"))
    process, port = started(model, home / "log", settings)
    try:
        yield f"http://127.0.0.1:{port}", home
    finally:
        process.terminate()
        process.wait(WAIT_S)
    assert not list(home.glob("smilevlm-web-*")), "nothing is left behind"


def started(model: str, log: Path, settings: dict[str, object]) -> tuple[subprocess.Popen, int]:
    """A server that is ready, and its port: another one where a program took the first in between."""
    while True:
        port = free_port()
        command = [sys.executable, "-W", "ignore", "-c", SERVE, model, str(port), repr(settings)]
        with log.open("w") as file:
            process = subprocess.Popen(command, stderr=file, env={**os.environ, "TMPDIR": str(log.parent)})
        wait_for(lambda: "Ctrl-C" in log.read_text() or process.poll() is not None)  # noqa: B023
        if process.poll() is None:
            return process, port
        assert "port" in log.read_text(), log.read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Callable[[], object], seconds: float = WAIT_S) -> object:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain")


class Browser:
    """A fresh browser before the page."""

    def __init__(self, address: str, folder: Path, *, width: int = 1280, dark: bool = False) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={width},1100"):
            options.add_argument(flag)
        if dark:
            options.add_argument("--blink-settings=preferredColorScheme=0")
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
        self.downloads = folder / "downloads"
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.requests: set[str] = set()
        self.address = address
        self.width = width
        self.driver.get(address)
        wait_for(lambda: self.all("#sent input[type=file]"))

    def all(self, selector: str) -> list:
        return self.driver.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        # Read in one step: the page may replace an element between finding and reading it.
        return self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join(' ')", selector
        )

    def send(self, path: Path) -> None:
        self.all("#sent input[type=file]")[0].send_keys(str(path))

    def press(self, name: str) -> None:
        (button,) = self.all(f"#{name}")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        wait_for(button.is_enabled)
        self.driver.execute_script("arguments[0].click()", button)

    def picture(self, name: str) -> None:
        """A screenshot of the whole page, where pictures are kept."""
        if not (folder := os.environ.get("SMILEVLM_WEB_PICTURES")):
            return
        height = self.driver.execute_script("return document.querySelector('.gradio-container').scrollHeight + 10")
        self.driver.set_window_size(self.width, int(height))
        self.driver.execute_script("window.scrollTo(0, 0)")
        if self.all("#turning canvas"):
            wait_for(self.turning_is_drawn)
        image = Image.open(BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        colours = image.quantize(256)
        image.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(
            Path(folder) / f"{name}.png", optimize=True
        )

    def turning_is_drawn(self) -> bool:
        """Whether there is a face in the viewer; the processor alone takes seconds to draw it."""
        (canvas,) = self.all("#turning canvas")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        pixels = np.asarray(Image.open(BytesIO(canvas.screenshot_as_png)).convert("L"), dtype=np.float32)
        middle = pixels[pixels.shape[0] // 3 : -(pixels.shape[0] // 3), pixels.shape[1] // 3 : -(pixels.shape[1] // 3)]
        return float(middle.std()) > 3

    def foreign_requests(self) -> list[str]:
        """Addresses that were asked and are not the page's own."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.requests.add(message["params"]["request"]["url"])
        own = (self.address + "/", f"blob:{self.address}/", "data:", "chrome:", "chrome-")
        assert any(url.startswith(self.address) for url in self.requests), "the log holds requests"
        return [url for url in self.requests if not url.startswith(own)]


@pytest.fixture
def open_browser(server, tmp_path):
    opened = []

    def opening(address: str | None = None, **options) -> Browser:
        opened.append(Browser(address or server[0], tmp_path, **options))
        return opened[-1]

    yield opening
    for browser in opened:
        assert browser.foreign_requests() == []
        browser.driver.quit()


@pytest.fixture(scope="module")
def examples() -> dict[str, Path]:
    return find_examples(None)


def files_of_sessions(home: Path) -> list[Path]:
    return [path for path in home.glob("smilevlm-web-*/session-*/*/*") if path.is_file()]


def test_from_upload_to_download(server, open_browser, examples):
    browser = open_browser()
    browser.picture("start")
    browser.send(examples["happy scan"])
    wait_for(lambda: browser.text("#answer .verdict"))
    assert "happy_scan.ply" in browser.text("#answer .what")
    assert len(browser.all("#answer .bar")) >= 6
    assert len(browser.all("#views img")) == 3
    assert "finding the face" in browser.text("#details")
    wait_for(lambda: browser.all("#turning canvas"))
    wait_for(browser.turning_is_drawn)
    wait_for(lambda: any("face.glb" in url for url in browser.foreign_requests() or browser.requests))
    assert not [path for path in files_of_sessions(server[1]) if path.name.startswith("scan.")], "deleted once answered"
    browser.picture("answer")

    browser.all("#text textarea")[0].send_keys(
        "pain: a face in pain; a grimace\ncalm: a calm face\njoy: a joyful smile"
    )
    browser.press("compare")
    wait_for(lambda: len(browser.all("#answer .bar")) == 3)
    assert "your own classes" in browser.text("#answer")
    browser.press("explain")
    wait_for(lambda: len(browser.all("#relevance img")) == 3)
    browser.picture("own_words_and_relevance")

    browser.press("download")
    (result,) = wait_for(lambda: list(browser.downloads.glob("*.zip")))
    with zipfile.ZipFile(result) as archive:
        names = archive.namelist()
        plain = json.loads(archive.read("result.json"))
    assert {"result.json", "probabilities.csv", "view_+0.png", "relevance_+0.png"} <= set(names)
    assert set(plain["probabilities"]) == {"pain", "calm", "joy"}
    assert plain["scan"] == "happy_scan.ply"

    browser.press("trained")
    wait_for(lambda: len(browser.all("#answer .bar")) >= 6)
    assert files_of_sessions(server[1])
    browser.driver.get("about:blank")
    wait_for(lambda: not files_of_sessions(server[1]), 30)


def test_a_sequence(open_browser, examples):
    browser = open_browser()
    browser.send(examples["happy sequence"])
    wait_for(lambda: browser.text("#answer .verdict"))
    assert "sequence of 6 frames" in browser.text("#answer .what")
    assert "dynamic images" in browser.text("#views")
    wait_for(lambda: browser.all("#turning canvas"))
    browser.picture("sequence")


def test_what_is_refused_is_said_in_one_sentence(open_browser, examples, tmp_path):
    browser = open_browser()
    picture = tmp_path / "holiday.ply"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    browser.send(picture)
    wait_for(lambda: "expected 'ply'" in browser.text("#message"))
    assert "Traceback" not in browser.driver.page_source
    assert str(tmp_path) not in browser.driver.page_source
    browser.picture("refused")
    browser.press("example-0")
    wait_for(lambda: browser.text("#answer .verdict"))
    assert not browser.text("#message").strip(), "the next answer takes the refusal away"


def test_too_large_a_file(open_browser, examples, tmp_path):
    browser = open_browser()
    large = tmp_path / "large.ply"
    large.write_bytes(bytes(3_000_000))
    browser.send(large)
    said = wait_for(lambda: browser.text(TOAST), 30)
    assert "exceed the maximum allowed size" in said
    assert "large.ply" in said
    assert not browser.text("#answer").strip()
    browser.press("example-0")
    wait_for(lambda: browser.text("#answer .verdict"))


def test_a_full_queue_is_said_to_be_full(strict_server, open_browser):
    import httpx

    address, _ = strict_server
    browser = open_browser(address)
    over = threading.Event()

    def fill() -> None:
        while not over.is_set():
            httpx.post(f"{address}/gradio_api/call/example_2", json={"data": [""]}, timeout=WAIT_S)
            time.sleep(0.02)

    others = threading.Thread(target=fill)
    others.start()
    try:
        for _ in range(10):  # a place may be free by chance
            browser.press("example-0")
            with contextlib.suppress(AssertionError):
                wait_for(lambda: browser.text("#message .message"), 3)
                break
        assert browser.text("#message .message").strip() == "Busy, try again in a minute."
    finally:
        over.set()
        others.join()


def test_uploads_that_never_end_or_say_two_lengths(strict_server):
    address, home = strict_server
    port = int(address.rpartition(":")[2])
    form = (
        b'--edge\r\nContent-Disposition: form-data; name="files"; filename="face.ply"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\nply\n"
    )

    def answer(headers: bytes, body: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
            connection.sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=edge\r\n"
                + headers + b"\r\n" + body
            )  # fmt: skip
            return connection.recv(10_000)

    assert b" 411 " in answer(b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n", b"")
    assert b" 408 " in answer(b"Content-Length: 1000000\r\n", form)
    assert "Traceback" not in (home / "log").read_text()


@pytest.mark.parametrize("dark", [False, True])
def test_on_a_phone(open_browser, dark):
    browser = open_browser(width=500, dark=dark)
    browser.press("example-2")
    wait_for(lambda: browser.text("#answer .verdict"))
    wide = browser.driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, "nothing sticks out to the side"
    wait_for(lambda: browser.all("#turning canvas"))
    browser.picture("phone_dark" if dark else "phone")
