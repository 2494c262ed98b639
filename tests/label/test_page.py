"""The page in a real browser: 60 tiles by keyboard, a killed server, and a classifier trained on the answers."""

import signal
import subprocess
import sys
from functools import partial

import pytest
from browser import Page, needs_browser

from cyclic.datasets.answers import read_answers
from cyclic.runs.directory import read_events

pytestmark = needs_browser
ANSWERED = "tiles.filter(tile => tile.answer).length"


class Server:
    """`cyclic label` in a process of its own; `url` is its page."""

    def __init__(self, images, out):
        options = ("--out", out, "--size", 32, "--stride", 32, "--who", "anna", "--port", 0, "--no-browser")
        call = [sys.executable, "-m", "cyclic.cli", "label", str(images), *map(str, options)]
        # Where the tests run in the background, Ctrl-C is switched off for them and their children.
        listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        self.process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True, preexec_fn=listen)
        self.url = self.process.stdout.readline().split()[0]

    def stop(self, how):
        self.process.send_signal(how)
        rest, _ = self.process.communicate()
        return self.process.returncode, rest


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


def answer(page, words):
    """Press the key of each word, as fast as a person who waits for the next sheet."""
    for word in words:
        page.wait_for("!waiting")
        page.press(word)
    page.run("chain")


def test_sixty_tiles_by_keyboard_a_kill_and_a_training(page, tissue, tmp_path, command):
    path = tmp_path / "answers.csv"
    server = Server(tissue, path)
    page.open(server.url)
    page.wait_for("tiles.length === 20")
    answer(page, "ynu" + "yn" * 17)
    server.stop(signal.SIGKILL)
    kept = read_answers(path)
    assert [line.answer for line in kept] == ["yes"] + ["yes", "no"] * 17
    # An answer that the killed server never got is not shown as given.
    shown = page.run(ANSWERED)
    page.press("y")
    page.run("chain")
    assert (
        page.run("find('fault').textContent").startswith("The server does not answer") and page.run(ANSWERED) == shown
    )

    server = Server(tissue, path)
    page.open(server.url)
    page.wait_for("tiles.length === 20")
    assert page.run("find('counts').textContent").startswith("18 yes, 17 no, 0 skipped")
    answer(page, "s" + "ny" * 12)
    assert read_answers(path)[:35] == kept
    given = read_answers(path)
    assert len({line.tile for line in given}) == len(given) == 60 and {line.who for line in given} == {"anna"}
    assert page.run("[...find('curve').tBodies[0].rows].map(row => row.cells[0].textContent).join()") == "15,30,59"
    code, said = server.stop(signal.SIGINT)
    assert "Map like that of all" in said
    assert code == 0 and said.endswith(f"{path}: 60 answers; the same command goes on from here\n")

    settings = (f"tiles.answers={path}", "tiles.size=32", "classifier.steps=3", "classifier.batch=4")
    settings = [part for setting in settings for part in ("--set", setting)]
    code, _, err = command("classifier", "--data", tissue, "--out", tmp_path / "run", *settings)
    assert code == 0, err
    events = {event["event"]: event for event in read_events(tmp_path / "run/log.jsonl")}
    assert (events["tiles"]["positive"], events["tiles"]["negative"]) == (30, 29)
    assert 0 <= events["classifier"]["accuracy"] <= 1


def test_mouse_and_arrows_choose_a_tile_and_nothing_is_loaded_from_elsewhere(page, tissue, tmp_path):
    server = Server(tissue, tmp_path / "answers.csv")
    page.open(server.url)
    page.wait_for(
        "tiles.length === 20 && [...document.images].every(each => each.complete && each.naturalWidth === 64)"
    )
    page.run("document.querySelectorAll('#sheet button')[4].click()")
    page.press("ArrowRight")
    page.run("document.querySelector('[data-word=no]').click()")
    page.run("chain")
    assert page.run("tiles.map(tile => tile.answer).join()") == "," * 5 + "no" + "," * 14
    given = read_answers(tmp_path / "answers.csv")
    assert [line.answer for line in given] == ["no"]
    assert page.run("tiles[5].y") == given[0].tile.y and page.run("current") == 0
    urls = [e["params"]["request"]["url"] for e in page.events if e["method"] == "Network.requestWillBeSent"]
    assert all(url.startswith(("http://127.0.0.1:", "data:", "about:")) for url in urls)
    page.call("Emulation.setDeviceMetricsOverride", width=320, height=700, deviceScaleFactor=1, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= 320
    page.call("Emulation.clearDeviceMetricsOverride")
    server.stop(signal.SIGINT)
