"""A web server on this machine, and a cache of the test's own that nothing was fetched into."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Web:
    """What it has, what it was asked, and what it keeps back of an answer (bytes).

    `raw` are bytes that it says in place of an HTTP answer; with `holds` it then keeps the connection until it ends.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    kept_back: int = 0
    raw: bytes | None = None
    holds: bool = False


@contextmanager
def serving() -> Iterator[Web]:
    shared, ended = Web(), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            shared.asked.append(f"HEAD {self.path}")
            if self.path not in shared.files:
                self.send_error(404)
                return
            self.send_response(302)  # as the model hub does: the checksum here, the file elsewhere
            self.send_header("Location", f"{shared.address}/elsewhere")
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(shared.files[self.path]).hexdigest()}"')
            self.end_headers()

        def do_GET(self) -> None:
            shared.asked.append(f"GET {self.path}")
            if shared.raw is not None:
                self.wfile.write(shared.raw)
                if shared.holds:
                    ended.wait()
                return
            if self.path not in shared.files:
                self.send_error(404)
                return
            data = shared.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) - shared.kept_back])

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shared.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield shared
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
