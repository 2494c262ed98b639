"""Kills of the page for answers: what the page was told is saved lies in the file, and no answer is lost or doubled."""

import http.client
import json
import threading
import urllib.request
from pathlib import Path

import numpy as np

from cyclic.datasets.answers import NO, YES, read_lines
from cyclic.datasets.synthetic import write_tissue_set
from cyclic.datasets.tile_writing import Tile
from soaking.launch import Command, import_page

SIZE, SIDE = 16, 96
# Seconds of answering before a kill, at most, and until a page has answered a request.
LONGEST, PATIENCE_S = 0.1, 600


def kill_page(root: Path, kills: int, seed: int) -> dict:
    """Kill `cyclic label` while answers come in, start it again, and go on until each tile has its answer.

    Args:
        root: where to work.
        kills: how often.
        seed: of the moments.
    """
    import_page()
    rng = np.random.default_rng(seed)
    write_tissue_set(root / "pages", 2, 1, size=SIDE)
    file = root / "answers.csv"
    arguments = ("label", root / "pages", "--out", file, "--size", SIZE, "--stride", SIZE // 2, "--who", "anna")
    said: list[Tile] = []
    for number in range(kills + 1):
        page = Command((*arguments, "--port", 0, "--no-browser"), root / "said")
        page.wait_for(lambda: page.said.read_text().startswith("http"))  # noqa: B023
        if not page.process.is_alive():
            page.finish()
            raise RuntimeError("label: ended before it was killed")
        # The last page is asked for the rest.
        timer = threading.Timer(float(rng.uniform(0, LONGEST)), page.process.kill)
        if number < kills:
            timer.start()
        before, left = len(said), _answer(page.said.read_text().split()[0], said)
        if number < kills and not left:
            raise RuntimeError(f"label: all tiles had their answer before kill {number + 1}")
        timer.join() if number < kills else page.process.terminate()
        page.process.join()
        _check(file, said, before)
    lines = read_lines(file)
    if len({line.tile for line in lines}) < len(lines) or not file.read_bytes().endswith(b"\n"):
        raise RuntimeError("label: a tile has two answers, or the last line is torn")
    return {"kills": kills, "answers": len(lines), "told to be saved": len(said)}


def _answer(url: str, said: list[Tile]) -> bool:
    """Answer tile after tile until none is left, and note each in `said`; return whether the page went away before."""
    try:
        while tiles := json.load(_open(url + "sheet"))["tiles"]:
            for each in tiles:
                tile = Tile(each["image"], each["y"], each["x"])
                _open(url + "answer", {**each, "size": SIZE, "answer": _word(tile)}).read()
                said.append(tile)
    except (OSError, ValueError, http.client.HTTPException):  # the page is dead, in the middle of a reply perhaps
        return True
    return False


def _open(url: str, content: dict | None = None):
    data = None if content is None else json.dumps(content).encode()
    return urllib.request.urlopen(
        urllib.request.Request(url, data, {"Content-Type": "application/json"}), timeout=PATIENCE_S
    )


def _word(tile: Tile) -> str:
    return YES if (tile.y + tile.x) // (SIZE // 2) % 2 else NO


def _check(file: Path, said: list[Tile], before: int) -> None:
    """Raise RuntimeError where an answer is lost or another one, or more lie in the file than were under way."""
    lines = {line.tile: line.answer for line in read_lines(file)}
    lost = [tile for tile in said if lines.get(tile) != _word(tile)]
    wrong = [tile for tile, word in lines.items() if word != _word(tile)]
    if lost or wrong:
        raise RuntimeError(f"label: {len(lost)} answers are lost, {len(wrong)} are other ones, after {before} answers")
