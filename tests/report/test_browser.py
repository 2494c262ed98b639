"""The report in a real browser."""

import json

import numpy as np
import pytest
from browser import CONSOLE, Page, needs_browser

from cyclic.report.html import write_report

pytestmark = needs_browser
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
