"""What a quick command prints in a container is not lost where it comes together with the head of the response."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import docker

from vcmbench.execution.runner.watchdog import Watchdog, follow

HEAD = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
OUTPUT = b"\1\0\0\0\0\0\0\2x\n" + b"\2\0\0\0\0\0\0\4oops" + b"\1\0\0\0\0\1\0\0" + b"y" * 65536


def test_output_in_one_piece_with_the_head(tmp_path: Path) -> None:
    """As a busy machine sees it: everything is there before the client looks."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen(1)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                asked = b""
                while not asked.endswith(b"}"):
                    asked += connection.recv(4096)
                connection.sendall(HEAD + OUTPUT)

        engine = threading.Thread(target=answer)
        engine.start()
        client = docker.APIClient(f"unix://{tmp_path}/socket", version="1.41")
        try:
            with Watchdog(60, lambda: None) as watchdog:
                stdout, stderr = follow(client.exec_start("an exec", socket=True), watchdog)
        finally:
            client.close()
            engine.join()
    assert (stdout, stderr) == (b"x\n" + b"y" * 65536, b"oops")
