"""A Hugging Face Hub on this machine: the few routes that reading a data set takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHA = "5f0c1e7a" * 5


class Server(ThreadingHTTPServer):
    """One data set at one commit. `sent` counts the bytes of its files that were asked for.

    A `broken` one has its files listed, and gives none of their data.
    """

    def __init__(self, repository: str, files: Mapping[str, bytes], broken: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository, self.files, self.broken = repository, files, broken
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.sent = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.split("?")[0]
        data = f"/api/datasets/{self.server.repository}/"
        name = path.removeprefix(f"/datasets/{self.server.repository}/resolve/{SHA}/")
        if path.startswith(f"{data}revision/"):
            self._json({"id": self.server.repository, "sha": SHA, "siblings": []})
        elif path.startswith(f"{data}tree/{SHA}"):
            self._json(self._entries(path.removeprefix(f"{data}tree/{SHA}").strip("/")))
        elif path == f"{data}paths-info/{SHA}":
            self._json([e for e in self._entries("") if e["path"] in json.loads(body)["paths"]])
        elif name in self.server.files:
            self._file(name)
        else:
            code = "EntryNotFound" if path.startswith("/datasets/") else "RepoNotFound"
            self._send(404, b"", {"X-Error-Code": code})

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        names = [name for name in self.server.files if name.startswith(folder)]
        folders = sorted({name.rpartition("/")[0] for name in names} - {"", folder})
        entries = [{"type": "directory", "path": name, "oid": SHA} for name in folders]
        for name in names:
            size = len(self.server.files[name])
            entries.append({"type": "file", "path": name, "size": size, "oid": SHA})
        return entries

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str) -> None:
        data = self.server.files[name]
        headers = {"ETag": f'"{SHA}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        asked = self.headers.get("range")
        if self.server.broken and name != "README.md" and self.command == "GET":
            self._send(503, b"", {})
        elif asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(data)), len(data) - 1) + 1
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            self._send(206, data[start:stop], headers)
        else:
            self._send(200, data, headers)

    def _send(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.server.sent += len(body)
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def hub(repository: str, files: Mapping[str, bytes], broken: bool = False) -> Iterator[Server]:
    """A Hub with one data set, at one commit, while the block runs."""
    server = Server(repository, files, broken)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
