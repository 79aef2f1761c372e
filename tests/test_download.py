"""Downloads against a server of this machine: whole and checked, or a clear error and nothing kept."""

import errno
import hashlib
import http.server
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import platformdirs
import pytest
import torch
import torch.hub
import torchvision.models

import jaxviz
import weights_convert
from weights_convert import download
from weights_convert.__main__ import main

NAME = "squeezenet1_1"


class Server(http.server.ThreadingHTTPServer):
    """Sends `content`, in one of the ways in which that goes wrong."""

    mode = "whole"
    content = b""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = 0
        self.together = threading.Barrier(2, timeout=120)  # two requests wait for one another
        self.started, self.released = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/{NAME}-stand-in.pth"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, content = self.server, self.server.content
        server.requests += 1
        half = content[: len(content) // 2]
        if server.mode == "missing":
            return self.send_error(404)
        if server.mode == "babble":
            return self.wfile.write(b"this is no HTTP\r\n\r\n")
        if server.mode == "hang up":
            return self.connection.shutdown(socket.SHUT_RDWR)
        if server.mode == "together":
            server.together.wait()
        self.send_response(200)
        self.send_header("Content-Length", str(len(half if server.mode == "short" else content)))
        self.end_headers()
        if server.mode == "stall":
            self.wfile.write(half)
            server.started.set()
            server.released.wait(timeout=120)
        elif server.mode in ("short", "truncated"):
            self.wfile.write(half)
        elif server.mode == "tampered":
            self.wfile.write(half + bytes(len(content) - len(half)))
        else:
            self.wfile.write(content)
        return None

    def log_message(self, *_):
        pass


def random_checkpoint(dtype: torch.dtype = torch.float32) -> bytes:
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save(torchvision.models.get_model(NAME).to(dtype).state_dict(), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def content() -> bytes:
    return random_checkpoint()


@pytest.fixture
def server(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        serve(server, content, monkeypatch)
        monkeypatch.setattr(download, "official_url", lambda name: server.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


def serve(server: Server, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `content` the official file, which the server has."""
    server.content = content
    monkeypatch.setitem(download.OFFICIAL, NAME, ("", hashlib.sha256(content).hexdigest()[:8]))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "not" / "yet" / "there"
    monkeypatch.setenv("JAXVIZ_CACHE", str(folder))
    return folder


def load():
    return jaxviz.load_model(NAME, weights="torchvision")


def assert_loaded(model, content: bytes) -> None:
    expected = torch.load(io.BytesIO(content), weights_only=True)["classifier.1.weight"].float()
    np.testing.assert_array_equal(model.conv10.kernel[...][0, 0], expected[:, :, 0, 0].T.numpy())


def test_a_download_is_cached_and_nothing_else_is_kept(server, cache, content):
    assert_loaded(load(), content)
    assert [path.name for path in cache.iterdir()] == [f"{NAME}-torchvision.safetensors"]
    metadata = weights_convert.read(cache / f"{NAME}-torchvision.safetensors")
    assert metadata[1:] == (NAME, f"{NAME}-stand-in.pth", hashlib.sha256(content).hexdigest())
    assert server.requests == 1
    assert_loaded(load(), content)
    assert server.requests == 1


def test_the_cache_is_the_platforms_unless_told_otherwise(server, tmp_path, monkeypatch):
    monkeypatch.delenv("JAXVIZ_CACHE", raising=False)
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / name))
    load()
    assert [path.name for path in (tmp_path / "jaxviz").iterdir()] == [f"{NAME}-torchvision.safetensors"]


@pytest.mark.parametrize(
    ("mode", "error", "message"),
    [
        ("truncated", ValueError, "is not the official file, or was cut short"),
        ("short", ValueError, "is not the official file, or was cut short"),
        ("tampered", ValueError, "is not the official file, or was cut short"),
        ("missing", ConnectionError, "answered 404 Not Found"),
        ("hang up", ConnectionError, "cannot be reached"),
        ("babble", ConnectionError, "cannot be reached"),
    ],
)
def test_a_failed_download_says_so_and_keeps_nothing(mode, error, message, server, cache, content):
    server.mode = mode
    with pytest.raises(error, match=rf'{server.url} .*{message}.* load_model\("{NAME}", weights="FILE.pth"\)'):
        load()
    assert not list(cache.iterdir())
    server.mode = "whole"
    assert_loaded(load(), content)


def test_no_network_says_how_to_do_it_by_hand(server, cache):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server.url = f"http://127.0.0.1:{closed.getsockname()[1]}/file.pth"
    with pytest.raises(ConnectionError, match=r"cannot be reached .* or fetch http.* elsewhere and give the file"):
        load()
    assert not list(cache.iterdir())


# What a second process needs to be told about the stand-in: its address and its hash.
LOAD = f"""
import sys
from weights_convert import download
download.official_url = lambda name: sys.argv[1]
download.OFFICIAL["{NAME}"] = ("", sys.argv[2])
import jaxviz
jaxviz.load_model("{NAME}", weights="torchvision")
"""


def loading(server: Server) -> subprocess.Popen:
    command = [sys.executable, "-c", LOAD, server.url, download.OFFICIAL[NAME][1]]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_two_processes_at_once_both_get_a_whole_file(server, cache, content):
    server.mode = "together"
    processes = [loading(server), loading(server)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert server.requests == 2
    assert [path.name for path in cache.iterdir()] == [f"{NAME}-torchvision.safetensors"]
    assert_loaded(load(), content)


def test_a_killed_download_leaves_nothing_that_is_taken_for_weights(server, cache, content):
    server.mode = "stall"
    process = loading(server)
    assert server.started.wait(timeout=120)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=120)
    assert not list(cache.rglob("*.safetensors"))
    server.mode = "whole"
    assert_loaded(load(), content)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["while downloading", "while converting"])
def test_a_full_disk_is_named_and_nothing_half_written_is_left(dtype, server, cache, monkeypatch):
    serve(server, random_checkpoint(dtype), monkeypatch)  # 5 MB, or else 2.5 MB that become 5
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, limits[1]))  # the kernel refuses to write more: EFBIG
    try:
        with pytest.raises(OSError, match=rf"cannot write to {cache} \(.*File too large.*set JAXVIZ_CACHE"):
            load()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(cache.iterdir())


def test_no_space_left_is_named(server, cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch.hub, "download_url_to_file", full)
    with pytest.raises(OSError, match=rf"cannot write to {cache} \(No space left on device\).*set JAXVIZ_CACHE"):
        load()
    assert not list(cache.iterdir())


def test_a_cache_folder_that_cannot_be_is_named(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXVIZ_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match=f"cannot write to {tmp_path}/file/below .Not a directory.*set JAXVIZ_CACHE"):
        load()
    assert server.requests == 0


def test_a_damaged_cached_file_is_named(server, cache):
    load()
    cached = cache / f"{NAME}-torchvision.safetensors"
    cached.write_bytes(cached.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=f"{cached} is damaged, .* delete it if it lies in jaxviz's cache"):
        load()


def test_the_command_downloads_where_no_checkpoint_is_given(server, tmp_path, monkeypatch, capsys, content):
    monkeypatch.chdir(tmp_path)
    assert main([NAME]) == 0
    assert f"{NAME}.safetensors: {NAME} from {NAME}-stand-in.pth (SHA-256 " in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.safetensors"]
    server.mode = "missing"
    assert main([NAME]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert_loaded(jaxviz.load_model(NAME, weights=f"{NAME}.safetensors"), content)  # the first one is still there
