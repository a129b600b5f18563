"""Files of the web, from a real server on this machine that breaks off, drips, talks rubbish or says nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.helpers.commands import tree
from tests.helpers.web import Web
from vcmbench.errors import RequestError
from vcmbench.io import fetch, locks

DATA = b"x" * 3_000_000
SUM = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept/net.pth"


def refused(web: Web, path: Path, checksum: str = SUM) -> str:
    """Why it is not fetched: one line, and nothing is left behind."""
    before = tree(path.parent) if path.parent.exists() else {}
    with pytest.raises(RequestError, match="cannot be fetched") as error:
        fetch.cached(f"{web.address}/net.pth", path, checksum)
    assert tree(path.parent) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_is_fetched_once(web: Web, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web.files["/net.pth"] = DATA
    for checksum in (SUM, SUM[:8]):
        assert fetch.cached(f"{web.address}/net.pth", path, checksum) == path
    assert path.read_bytes() == DATA
    assert web.asked == ["GET /net.pth"]
    assert list(tree(path.parent)) == ["net.pth"]
    assert f"fetching {web.address}/net.pth" in capsys.readouterr().err


def test_what_killed_fetches_left_goes_and_a_damaged_file_is_overwritten(web: Web, path: Path) -> None:
    web.files["/net.pth"] = DATA
    path.parent.mkdir()
    path.write_bytes(b"half")
    for name in ("net.pth", "another.pth"):
        (path.parent / f"{fetch.hidden_stem(path.with_name(name))}part").write_bytes(DATA + b"more")
    fetch.cached(f"{web.address}/net.pth", path, SUM)
    assert path.read_bytes() == DATA
    assert list(tree(path.parent)) == ["net.pth"]


def test_another_process_is_waited_for(web: Web, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    lease = locks.take(path.parent / f"{fetch.hidden_stem(path)}part")
    assert lease is not None

    def it_ends(_: float) -> None:
        path.write_bytes(DATA)
        lease.release()

    monkeypatch.setattr(fetch.time, "sleep", it_ends)
    assert fetch.cached(f"{web.address}/net.pth", path, SUM) == path
    assert web.asked == []


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"a proxy's greeting\r\n", "proxy"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nx", "more than 17179869184 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "cannot be fetched"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "more than 100 headers"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n", "not allowed"),
        (b"HTTP/1.1 200 OK\r\n\r\nnot found", "what came has SHA-256 "),
        (b"", "closed connection"),
    ],
)
def test_rubbish_is_a_reason(web: Web, path: Path, raw: bytes, said: str) -> None:
    web.raw = raw
    assert said in refused(web, path)


def test_an_answer_that_breaks_off_is_not_kept(web: Web, path: Path) -> None:
    web.files["/net.pth"], web.kept_back = DATA, 1000
    assert f"broke off after {len(DATA) - 1000} of {len(DATA)} bytes" in refused(web, path)


def test_another_file_is_not_kept(web: Web, path: Path) -> None:
    web.files["/net.pth"] = b"bad"
    assert f"not {SUM[:8]}; it was not kept" in refused(web, path, SUM[:8])
    path.write_bytes(b"half")
    assert f"in place of {path}, which has another SHA-256" in refused(web, path)


def test_more_bytes_than_allowed(web: Web, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", 1000)
    web.raw = b"HTTP/1.1 200 OK\r\n\r\n" + DATA
    assert "more than 1000 bytes" in refused(web, path)


def test_a_server_that_says_nothing(web: Web, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_TIMEOUT_S", 0.1)
    web.raw, web.holds = b"HTTP/1.1 2", True
    assert refused(web, path)


def test_a_server_that_drips(web: Web, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_WINDOW_S", 0)
    web.raw, web.holds = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\nx", True
    assert "bytes came in 0 s" in refused(web, path)


def test_other_addresses(tmp_path: Path, path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(DATA)
    with pytest.raises(RequestError, match="not an address of the web"):
        fetch.cached((tmp_path / "x.pth").as_uri(), path, SUM)
    with pytest.raises(RequestError, match=rf"\(.*refused.*\); where .*, fetch it and lay it at {path}"):
        fetch.cached("http://127.0.0.1:9/x.pth", path, SUM)  # the port "discard": nothing listens


def test_headers_are_those_of_the_address_itself(web: Web) -> None:
    web.files["/net.pth"] = DATA
    assert fetch.headers(f"{web.address}/net.pth")["X-Linked-Etag"] == f'"{SUM}"'
    with pytest.raises(RequestError, match="404"):
        fetch.headers(f"{web.address}/none")
