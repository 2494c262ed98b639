"""Which models there are, and where their weights lie on this machine.

The package ships cards and weights in this folder. A user's cards lie in `$XDG_DATA_HOME/cyclic/models`, which is
`~/.local/share/cyclic/models` by default; downloads in the cache, see `cyclic.mrcnn.weights.downloads`.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from cyclic.errors import InputError
from cyclic.files import atomic_path, digest, require_file, same_place
from cyclic.models.card import Card, make_card, read_card
from cyclic.mrcnn.weights.downloads import WeightsFile, cache_dir, download

SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """A card and where it was found.

    Attributes:
        card: what is known of the model.
        folder: where the card lies.
    """

    card: Card
    folder: Path

    @property
    def is_shipped(self) -> bool:
        """Whether the package brings it."""
        return self.folder == SHIPPED

    @property
    def file(self) -> Path:
        """Where the weights are, or will be once they are fetched."""
        if self.card.is_remote:
            return cache_dir() / "models" / f"{self.card.name}-{self.card.sha256[:12]}.h5"
        return self.folder / self.card.source

    @property
    def place(self) -> str:
        """Where the weights come from, in a word."""
        if self.card.is_remote:
            return "downloaded" if self.file.is_file() else "to download"
        return "shipped" if self.is_shipped else "registered"


def user_folder() -> Path:
    """Return the folder of a user's own cards."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "cyclic" / "models"


def models() -> dict[str, Model]:
    """Return every model by name, shipped ones first.

    Raises:
        InputError: a card is broken.
    """
    found: dict[str, Model] = {}
    for folder in (SHIPPED, user_folder()):
        for path in sorted(folder.glob("*.json")):
            card = read_card(path)
            found.setdefault(card.name, Model(card, folder))
    return found


def find(name: str) -> Model:
    """Return the model of a name. Raises InputError, with the nearest name, where there is none."""
    known = models()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    cure = f"did you mean {near[0]}?" if near else "cyclic models list shows those that there are"
    raise InputError(f"{name}: no model of this name; {cure}")


def fetch(model: Model) -> Path:
    """Return the file of a model's weights, checked; download it first where it has to be.

    Raises:
        InputError: no connection, no such file, or a file of another checksum.
    """
    card = model.card
    if card.is_remote:
        return download(WeightsFile(card.source, card.sha256, "sha256"), model.file)
    path = require_file(model.file)
    if digest(path) != card.sha256:
        raise InputError(f"{path}: not the file that was registered as {card.name}; register it again or restore it")
    return path


def weights_file(asked: str | Path | None) -> Path:
    """Return the weights file that a user means.

    Args:
        asked: a file, or the name of a model; None: the model that the package ships.

    Raises:
        InputError: neither a file nor the name of a model, or no model is shipped; or see `fetch`.
    """
    if asked is None:
        shipped = [model for model in models().values() if model.is_shipped]
        if not shipped:
            raise InputError(
                "this version ships no model yet; give --weights FILE, or the name of a model (cyclic models list)"
            )
        return fetch(shipped[0])
    if Path(asked).exists():
        return require_file(asked)
    if isinstance(asked, str) and os.sep not in asked and not asked.endswith(".h5"):
        return fetch(find(asked))
    raise InputError(f"{asked}: no such weights file; check the path")


def add(card: Card) -> Model:
    """Register a model of the user's own.

    Raises:
        InputError: the name is taken, or the weights are not those of the card.
    """
    if card.name in models():
        raise InputError(f"{card.name}: a model of this name is there already; choose another name")
    model = Model(card, user_folder())
    if not card.is_remote:
        fetch(model)
    with atomic_path(model.folder / f"{card.name}.json") as temporary:
        temporary.write_text(card.as_json(), encoding="utf-8")
    return model


def card_of(source: str, name: str, licence: str, sha256: str | None, mpp: float | None) -> Card:
    """Return the card of a user's own model.

    Args:
        source: weights file of a run, or the address of one.
        name: what it is to be called.
        licence: what it may be used for.
        sha256: checksum; None for that of the file. An address needs one.
        mpp: micrometres per pixel of the training images; None for what the file says.

    Raises:
        InputError: an address without a checksum, or a file that is missing or no weights file.
    """
    if "://" in source:
        if sha256 is None:
            raise InputError(f"{source}: an address needs --sha256, so that a download can be checked")
        return make_card(name=name, source=source, sha256=sha256.lower(), licence=licence, mpp=mpp)
    from cyclic.trained import stored_config  # starts Keras, which takes seconds

    path = same_place(require_file(source))
    stored = stored_config(path)
    return make_card(name=name, source=str(path), sha256=sha256 or digest(path), licence=licence, mpp=mpp or stored.mpp)
