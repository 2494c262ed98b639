"""The page's server: a contact sheet of tiles, their pixels, and the answers that come back."""

import io
import socket
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import flask
import numpy as np
import werkzeug.serving
from PIL import Image

from cyclic.datasets.answers import NO, SKIP, YES, Answer
from cyclic.datasets.dataset import NucleiDataset
from cyclic.datasets.tile_writing import Tile
from cyclic.errors import InputError
from cyclic.label.answer_file import AnswerFile
from cyclic.label.enough import LEAST, Point, advice, learning_curve, tile_features

HOST = "127.0.0.1"
PAGE = Path(__file__).with_name("page.html")
# Nothing is loaded from elsewhere, so the page works without a network.
POLICY = (
    "default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'"
)
SHEET = 20  # tiles
# A tile is shown with this share of its side around it: what lies at its edge is seen whole.
AROUND = 0.5
CACHED = 16  # images
# So many tiles stand for the map: what parts of the answers make of them is compared.
MAPPED = 100


@dataclass
class Session:
    """What the page works with.

    Attributes:
        dataset: the images.
        tiles: all tiles that may be asked, in the order in which they are.
        answers: the file of answers.
        since: ISO 8601; where it is given, these tiles alone count, and those with an older answer are asked again.
    """

    dataset: NucleiDataset
    tiles: list[Tile]
    answers: AnswerFile
    since: str = ""
    known: set[Tile] = field(init=False)

    def __post_init__(self) -> None:
        self.known = set(self.tiles)
        self.image = lru_cache(CACHED)(self.dataset.image)
        self.features = lru_cache(None)(self._features)

    def _features(self, tile: Tile) -> np.ndarray:
        size = self.answers.size
        return tile_features(self.image(tile.image_id)[tile.y : tile.y + size, tile.x : tile.x + size])

    def counts(self, line: Answer) -> bool:
        """Whether an answer counts on this page."""
        return not self.since or (line.tile in self.known and line.time >= self.since)

    @property
    def given(self) -> list[Answer]:
        """The answers that count on this page, oldest first."""
        return list(filter(self.counts, self.answers.answers))

    def sheet(self) -> list[Tile]:
        """Return the next tiles without an answer."""
        answered = {line.tile for line in self.given}
        return [tile for tile in self.tiles if tile not in answered][:SHEET]

    def progress(self) -> dict:
        """Return the number of each answer, how many tiles there are, and whether more answers are worth the time."""
        counts, points = Counter(line.answer for line in self.given), self.learning_curve()
        said = {word: counts[word] for word in (YES, NO, SKIP)}
        words = "" if self.since else advice(points, said[YES], said[NO])
        return {**said, "total": len(self.tiles), "advice": words, "curve": [asdict(point) for point in points]}

    def learning_curve(self) -> list[Point]:
        """Return what a quick classifier learns from parts of the answers; see `cyclic.label.enough`."""
        if self.since:  # nothing new is learnt
            return []
        given = self.answers.answers
        used = [line for line in given if line.answer in (YES, NO) and line.tile.image_id in self.dataset.ids]
        used.sort(key=lambda line: line.tile.image_id)  # after a restart each image is read once
        words = [line.answer for line in used]
        if min(words.count(YES), words.count(NO)) < LEAST:
            return []
        images = np.array([self.dataset.ids.index(line.tile.image_id) for line in used])
        features = np.stack([self.features(line.tile) for line in used])
        return learning_curve(features, np.array(words) == YES, images, self.mapped)

    @cached_property
    def mapped(self) -> np.ndarray:
        """Features of tiles all over the images, `[M, F]` float32."""
        tiles = self.tiles[:: -(-len(self.tiles) // MAPPED)]
        return np.stack([self.features(tile) for tile in sorted(tiles, key=lambda tile: tile.image_id)])

    def picture(self, tile: Tile) -> bytes:
        """Return a PNG of a tile in its surroundings, white beyond the image's border."""
        size, around = self.answers.size, round(AROUND * self.answers.size)
        image = self.image(tile.image_id)
        canvas = np.full((size + 2 * around, size + 2 * around, 3), 255, np.uint8)
        top, left = max(tile.y - around, 0), max(tile.x - around, 0)
        part = image[top : tile.y + size + around, left : tile.x + size + around]
        y, x = top - tile.y + around, left - tile.x + around
        canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
        buffer = io.BytesIO()
        Image.fromarray(canvas).save(buffer, "png")
        return buffer.getvalue()


def create_app(session: Session) -> flask.Flask:
    """Return the page as a web application, for this machine's own browser alone."""
    app = flask.Flask(__name__, static_folder=None)
    # Another site that a browser shows can neither reach this one by a name of its own nor send it JSON.
    app.config["TRUSTED_HOSTS"] = [HOST, "localhost"]

    @app.after_request
    def guard(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(InputError)
    @app.errorhandler(OSError)
    def tell(error: Exception) -> tuple[dict, int]:
        return {"error": str(error)}, 500

    @app.get("/")
    def page() -> flask.Response:
        return flask.Response(PAGE.read_text(encoding="utf-8"), mimetype="text/html")

    @app.get("/sheet")
    def sheet() -> dict:
        tiles = [{"image": tile.image_id, "y": tile.y, "x": tile.x} for tile in session.sheet()]
        return {"tiles": tiles, "size": session.answers.size, "around": AROUND, **session.progress()}

    @app.get("/tile.png")
    def tile() -> flask.Response:
        asked = _tile(flask.request.args.to_dict(), session)
        return flask.Response(session.picture(asked), mimetype="image/png")

    @app.post("/answer")
    def answer() -> dict:
        content = flask.request.get_json()
        word = content.get("answer") if isinstance(content, dict) else None
        if word not in (YES, NO, SKIP):
            flask.abort(400)
        session.answers.add(_tile(content, session), word)
        return session.progress()

    @app.post("/undo")
    def undo() -> dict:
        flask.request.get_json()
        tile = session.answers.undo(session.counts)
        undone = None if tile is None else {"image": tile.image_id, "y": tile.y, "x": tile.x}
        return {"undone": undone, **session.progress()}

    return app


def _tile(content: dict, session: Session) -> Tile:
    """Return the tile that a request names; 409 for one of another session, such as one with tiles of another size."""
    try:
        tile, size = Tile(str(content["image"]), int(content["y"]), int(content["x"])), int(content["size"])
    except (KeyError, TypeError, ValueError, OverflowError):
        flask.abort(400)
    if tile not in session.known or size != session.answers.size:
        flask.abort(409)
    return tile


def make_server(session: Session, port: int) -> werkzeug.serving.BaseWSGIServer:
    """Return a server on this machine alone; `serve_forever` starts it.

    Args:
        session: what the page works with.
        port: where it listens; 0 takes any free port.

    Raises:
        InputError: the port is taken.
    """
    try:
        listening = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        raise InputError(
            f"port {port}: cannot be used ({error}); give another one, --port 0 for any free one"
        ) from error
    with listening:
        place, app = listening.getsockname()[1], create_app(session)
        return werkzeug.serving.make_server(
            HOST, place, app, threaded=True, request_handler=_Quiet, fd=listening.fileno()
        )


class _Quiet(werkzeug.serving.WSGIRequestHandler):
    """Says nothing of requests: the terminal is for what concerns the person."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass
