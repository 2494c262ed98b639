"""Downloads from a server on the loopback: whole, in parts, damaged, and with no server at all."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from cyclic.errors import InputError
from cyclic.mrcnn import utils
from cyclic.mrcnn.weights import downloads
from cyclic.mrcnn.weights.downloads import WeightsFile, download

CONTENT = np.random.default_rng(0).bytes(300_000)


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT under every path but /missing; the server's `ranges` and `cut` say how well."""

    def do_GET(self):
        server = self.server
        server.asked.append(self.headers.get("Range"))
        if self.path == "/missing.h5":
            self.send_error(404)
            return
        start = int(server.asked[-1][len("bytes=") : -1]) if server.asked[-1] and server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : server.cut])

    def log_message(self, *arguments):
        """Write nothing on standard error."""


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.ranges, server.cut = [], True, None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def file(server):
    return WeightsFile(f"http://127.0.0.1:{server.server_port}/w.h5", hashlib.md5(CONTENT).hexdigest())


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "w.h5"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_once(server, file, target):
    assert download(file, target) == target and target.read_bytes() == CONTENT
    assert download(file, target) == target
    assert server.asked == [None] and names(target.parent) == ["w.h5"]


def test_a_download_that_broke_off_goes_on_where_it_ended(server, file, target):
    server.cut = 100_000
    with pytest.raises(InputError, match=r"after 100000 of 300000 bytes\); try again, or put the file at .*w.h5"):
        download(file, target)
    assert names(target.parent) == ["w.h5.part"]
    server.cut = None
    assert download(file, target).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"] and names(target.parent) == ["w.h5"]


def test_a_server_without_ranges_starts_over(server, file, target):
    target.parent.mkdir()
    target.with_name("w.h5.part").write_bytes(b"x" * 1000)
    server.ranges = False
    assert download(file, target).read_bytes() == CONTENT


def test_a_part_that_is_whole_is_taken(server, file, target):
    target.parent.mkdir()
    target.with_name("w.h5.part").write_bytes(CONTENT)
    assert download(file, target).read_bytes() == CONTENT and server.asked == ["bytes=300000-"]


def test_a_damaged_part_is_thrown_away(server, file, target):
    target.parent.mkdir()
    target.with_name("w.h5.part").write_bytes(b"x" * 1000)
    with pytest.raises(InputError, match="the download is damaged .*; try again"):
        download(file, target)
    assert names(target.parent) == []
    assert download(file, target).read_bytes() == CONTENT


def test_a_file_of_another_content_is_kept_and_named(server, file, target):
    target.parent.mkdir()
    target.write_bytes(b"my own weights")
    with pytest.raises(InputError, match=r"w\.h5: not the file of http.*; remove or replace it"):
        download(file, target)
    assert target.read_bytes() == b"my own weights" and server.asked == []


def test_a_missing_file(server, target):
    url = f"http://127.0.0.1:{server.server_port}/missing.h5"
    with pytest.raises(InputError, match=r"missing\.h5: not downloaded \(Not Found\)"):
        download(WeightsFile(url, ""), target)


def test_offline_says_which_file_to_put_where(server, file, target):
    server.server_close()
    with pytest.raises(InputError) as error:
        download(WeightsFile("http://127.0.0.1:9/w.h5", file.checksum), target)
    assert "\n" not in str(error.value) and str(error.value).endswith(f"try again, or put the file at {target}")
    target.write_bytes(CONTENT)
    assert download(file, target) == target


def test_the_cache_is_in_the_environment_or_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("CYCLIC_CACHE", str(tmp_path))
    assert downloads.cache_dir() == tmp_path
    monkeypatch.delenv("CYCLIC_CACHE")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(downloads.cache_dir()) == "/home/someone/.cache/cyclic"


def test_known_files_lie_in_the_cache_under_their_own_names(monkeypatch, tmp_path, file):
    monkeypatch.setenv("CYCLIC_CACHE", str(tmp_path))
    monkeypatch.setitem(downloads.FILES, "coco", file)
    assert downloads.fetch_cached("coco") == tmp_path / "w.h5" and (tmp_path / "w.h5").read_bytes() == CONTENT


def test_matterports_call_downloads_to_the_path_given(monkeypatch, tmp_path, file, capsys):
    monkeypatch.setitem(downloads.FILES, "coco", file)
    utils.download_trained_weights(str(tmp_path / "mask_rcnn_coco.h5"))
    assert (tmp_path / "mask_rcnn_coco.h5").read_bytes() == CONTENT and "Downloading" in capsys.readouterr().out


def test_every_known_file_has_an_address_and_a_checksum():
    assert set(downloads.FILES) == {"coco", "resnet50", "resnet101", "vgg16"}
    for file in downloads.FILES.values():
        assert file.url.startswith("https://") and file.name.endswith(".h5") and len(bytes.fromhex(file.checksum)) == 16
