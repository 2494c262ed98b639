"""The report in a real browser: headless Chromium, driven over its DevTools protocol with the standard library."""

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from cyclic.report.html import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --disable-sync --no-first-run
    --disable-background-networking --disable-component-update --hide-scrollbars --window-size=1200,900
    --remote-debugging-pipe""".split()  # noqa: SIM905 - twelve quoted strings read worse
PATIENCE_S = 90

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is installed")


class Page:
    """One page of a browser: `call` sends a command, `events` holds what the page reported since it was opened."""

    def __init__(self, profile):
        # Chromium reads commands from descriptor 3 and answers on 4.
        (read_command, self._write), (self._read, write_answer) = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 64) for end in (read_command, write_answer)]
        moved = f"import os, sys; os.dup2({theirs[0]}, 3); os.dup2({theirs[1]}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        self._process = subprocess.Popen(
            [sys.executable, "-c", moved, BROWSER, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (read_command, write_answer, *theirs):
            os.close(end)
        self._buffer, self._number, self._session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def _receive(self):
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser said nothing for {PATIENCE_S} s"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser has closed"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def open(self, path):
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def run(self, script):
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            code = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35, "Enter": 13}[key]
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def screenshot(self, selector):
        """Return what the page shows of an element, `[h, w, 3]` uint8."""
        box = self.run(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [box.x + scrollX, box.y + scrollY, box.width, box.height] })()"
        )
        clip = dict(zip(("x", "y", "width", "height"), box, strict=True), scale=1)
        data = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def complaints(self):
        """Return console messages, uncaught errors and browser warnings."""
        return [e for e in self.events if e["method"] in CONSOLE]

    def close(self):
        self._session = None
        self.call("Browser.close")
        self._process.wait(PATIENCE_S)
        os.close(self._write)
        os.close(self._read)


CONSOLE = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
SHOWN = """[...document.querySelectorAll(".viewer")[0].querySelectorAll("svg .layer")]
    .filter(layer => getComputedStyle(layer).display !== "none").map(layer => Number(layer.dataset.layer))"""


@pytest.fixture(scope="module")
def page(fake_run, tmp_path_factory):
    path = write_report(fake_run.run, fake_run.data, tmp_path_factory.mktemp("report") / "report.html")
    page = Page(tmp_path_factory.mktemp("profile"))
    page.open(path)
    yield page
    page.close()


def focus(page, selector):
    page.run(f"document.querySelector({json.dumps(selector)}).focus()")


def test_the_slider_moves_through_the_layers_by_keyboard(page):
    last = page.run("document.querySelectorAll('.viewer')[0].querySelectorAll('svg .layer').length") - 1
    focus(page, ".viewer input")
    page.press("Home")
    seen = [page.run(SHOWN)]
    pictures = [page.screenshot(".viewer .stack")]
    for _ in range(last):
        page.press("ArrowRight")
        seen.append(page.run(SHOWN))
        pictures.append(page.screenshot(".viewer .stack"))
    assert seen == [[index] for index in range(last + 1)] and last == 8
    for before, after in zip(pictures, pictures[1:], strict=False):
        assert (before != after).any(axis=2).mean() > 0.005, "the picture changes with each step"


def test_the_caption_and_the_spoken_value_follow_the_slider(page):
    focus(page, ".viewer input")
    page.press("Home")
    page.press("ArrowRight")
    assert page.run("document.querySelector('.viewer figcaption .on b').textContent") == "Cycle 1: activation map"
    spoken = "document.querySelector('.viewer input').getAttribute('aria-valuetext')"
    assert page.run(spoken) == "Cycle 1: activation map"
    other = page.run("document.querySelectorAll('.viewer')[1].querySelector('figcaption .on b').textContent")
    assert other == "Cycle 2: prediction", "each slider moves its own image"


def test_pictures_decode_and_thumbnails_show_the_errors(page):
    assert page.run(
        "Promise.all([...document.querySelectorAll('svg image')].map(each => { const picture = new Image();"
        " picture.src = each.getAttribute('href'); return picture.decode().then(() => picture.naturalWidth > 0) }))"
        ".then(found => found.length > 10 && found.every(Boolean))"
    )
    colors = page.screenshot(".ranking svg").reshape(-1, 3)
    assert len(np.unique(colors // 16, axis=0)) > 50, "tissue, not a blank square"


def test_enlarging_makes_the_picture_larger(page):
    width = "document.querySelector('.viewer .stack').getBoundingClientRect().width"
    before = page.run(width)
    focus(page, ".viewer button")
    page.press("Enter")
    assert page.run(width) > 1.3 * before
    page.press("Enter")
    assert page.run(width) == before


def test_every_control_and_picture_has_a_name(page):
    assert page.run(
        """[...document.querySelectorAll("input, button, [role=img]")]
        .every(each => (each.getAttribute("aria-label") || "").trim())"""
    )


@pytest.mark.parametrize("width", [320, 375, 768])
def test_nothing_sticks_out_on_a_narrow_screen(page, width):
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=700, deviceScaleFactor=1, mobile=True)
    try:
        page.run("document.querySelector('details').open = true")
        assert page.run("document.documentElement.scrollWidth") <= width
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")


def test_dark_and_light_follow_the_reader(page):
    brightness = {}
    for scheme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        brightness[scheme] = page.screenshot("h2").astype(float)
    page.call("Emulation.setEmulatedMedia", features=[])
    assert np.median(brightness["light"]) > 200 and np.median(brightness["dark"]) < 60
    # Text stands out in both.
    assert all(np.ptp(picture) > 150 for picture in brightness.values())


def test_the_page_is_silent_and_loads_nothing(page):
    page.run("scrollTo(0, document.body.scrollHeight)")
    assert page.complaints() == []
    urls = {e["params"]["request"]["url"] for e in page.events if e["method"] == "Network.requestWillBeSent"}
    assert all(url.startswith(("file:", "data:", "about:")) for url in urls), urls
    assert sum(url.startswith("file:") for url in urls) == 1


def test_a_message_on_the_console_would_be_seen(page):
    """The guard of the test above."""
    try:
        page.run("console.error('on purpose')")
        assert page.complaints()
    finally:
        page.events[:] = [event for event in page.events if event["method"] not in CONSOLE]
