"""A Hugging Face Hub on this machine: the few routes that reading a data set takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SHA = "5f0c1e7a" * 5


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: Mapping[str, bytes]
    repository: str
    requests: list[tuple[str, str]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.split("?")[0]
        self.requests.append((self.command, path))
        data = f"/api/datasets/{self.repository}/"
        resolve = f"/datasets/{self.repository}/resolve/{SHA}/"
        if path.startswith(f"{data}revision/"):
            self._json({"id": self.repository, "sha": SHA, "siblings": []})
        elif path.startswith(f"{data}tree/{SHA}"):
            self._json(self._entries(path.removeprefix(f"{data}tree/{SHA}").strip("/")))
        elif path == f"{data}paths-info/{SHA}":
            self._json([e for e in self._entries("") if e["path"] in json.loads(body)["paths"]])
        elif path.startswith(resolve) and path.removeprefix(resolve) in self.files:
            self._file(self.files[path.removeprefix(resolve)])
        else:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _entries(self, folder: str) -> list[dict]:
        files = [name for name in self.files if name.startswith(folder)]
        folders = sorted({name.rpartition("/")[0] for name in files} - {"", folder})
        return [{"type": "directory", "path": name, "oid": SHA} for name in folders] + [
            {"type": "file", "path": name, "size": len(self.files[name]), "oid": SHA}
            for name in files
        ]

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _file(self, data: bytes) -> None:
        headers = {"ETag": f'"{SHA}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"}
        asked = self.headers.get("range")
        if not asked:
            self._send(200, data, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(data)), len(data) - 1) + 1
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        self._send(206, data[start:stop], headers)

    def _send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub(repository: str, files: Mapping[str, bytes]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A Hub with one data set, at one commit: its address, and the requests that it gets."""
    requests: list[tuple[str, str]] = []
    settings = {"files": files, "repository": repository, "requests": requests}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), settings))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
