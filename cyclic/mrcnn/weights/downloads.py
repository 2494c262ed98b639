"""Public weights: downloaded once into a cache and checked; a download that broke off is resumed."""

import hashlib
import http.client
import logging
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cyclic.errors import InputError

logger = logging.getLogger(__name__)

TIMEOUT = 30
CHUNK = 1 << 20


@dataclass(frozen=True)
class WeightsFile:
    """A file on the web: its address and its checksum (hex), for public weights MD5, the only kind published."""

    url: str
    checksum: str
    algorithm: str = "md5"

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
# Addresses and checksums of the backbones are those of keras.applications. Matterport's release gives no checksum; this
# one is in NVIDIA's TensorRT sample and in Alibaba's AI Matrix for the same address.
FILES = {
    "coco": WeightsFile(
        "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5",
        "e98aaff6f99e307b5e2a8a3ff741a518",
    ),
    "resnet50": WeightsFile(
        f"{_KERAS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "4d473c1dd8becc155b73f8504c6f6626"
    ),
    "resnet101": WeightsFile(
        f"{_KERAS}/resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5", "88cf7a10940856eca736dc7b7e228a21"
    ),
    "vgg16": WeightsFile(
        f"{_KERAS}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "6d6bbae143d832006294945121d1f1fc"
    ),
}


def cache_dir() -> Path:
    """Return the folder of downloaded files: $CYCLIC_CACHE, or ~/.cache/cyclic."""
    return Path(os.environ.get("CYCLIC_CACHE") or Path.home() / ".cache" / "cyclic")


def cached_path(key: str) -> Path:
    """Return where a file of `FILES` lies in the cache, whether it is there or not."""
    return cache_dir() / FILES[key].name


def fetch_cached(key: str) -> Path:
    """Return the path of a file of `FILES` in the cache; download it first if it is not there (see `download`)."""
    return download(FILES[key], cached_path(key))


def download_trained_weights(coco_model_path, verbose: int = 1) -> None:
    """Download Matterport's COCO weights (246 MB) to `coco_model_path`, unless they are there already.

    `verbose` prints what happens. Errors as in `download`.
    """
    if verbose:
        print(f"Downloading pretrained model to {coco_model_path} ...")
    download(FILES["coco"], Path(coco_model_path))
    if verbose:
        print("... done downloading pretrained model!")


def download(file: WeightsFile, target: Path) -> Path:
    """Download `file` to `target`, unless it is there already, and return `target`.

    The download is written to `<target>.part` first. One that broke off is resumed, if the server can do that.

    Raises:
        InputError: no connection, a download that broke off, or a file (there or downloaded) of another checksum.
    """
    if target.is_file():
        if not _is(file, target):
            raise InputError(f"{target}: not the file of {file.url} ({_expected(file)}); remove or replace it")
        return target
    part = target.with_name(target.name + ".part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        logger.info("downloading %s to %s", file.url, target)
        _fetch_rest(file.url, part)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{file.url}: not downloaded ({reason}); try again, or put the file at {target}") from error
    if not _is(file, part):
        part.unlink()
        raise InputError(f"{file.url}: the download is damaged ({_expected(file)}); try again")
    part.replace(target)
    return target


def _fetch_rest(url: str, part: Path) -> None:
    """Download the bytes of `url` that `part` does not have yet."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        # 416: the server has no byte after the ones there, so the part is whole or of another file.
        if error.code == 416:
            return
        raise
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        expected = (have if resumed else 0) + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if resumed else "wb") as stream:
            while chunk := response.read(CHUNK):
                stream.write(chunk)
    if part.stat().st_size < expected:
        raise OSError(f"broken off after {part.stat().st_size} of {expected} bytes")


def _is(file: WeightsFile, path: Path) -> bool:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.new(file.algorithm, usedforsecurity=False))
    return found.hexdigest() == file.checksum


def _expected(file: WeightsFile) -> str:
    return f"{file.algorithm.upper()} is not {file.checksum}"
