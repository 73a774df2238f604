"""A Hub for data sets on this machine: its real routes, in memory, with faults on request.

    with endpoint() as hub:
        hub.url                          # for HF_ENDPOINT
        hub.faults.append(Fault("/commit/", status=503))

Speaks what `huggingface_hub` asks when it creates a repository, validates a card, sends files
(LFS batch, PUT and verify, or Xet with its write token and content store), commits, tags,
branches, and what `datasets` asks when it loads: revisions, trees, paths, resolve with ranges.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub import cards, xet

TOKEN = "hf_marked0token0that0nothing0shows"
_TAG = re.compile(r"(?![0-9a-f]{40}$)\w[\w-]*(\.[\w-]+)*")  # fewer than git takes
ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n*.png filter=lfs -text\n"


@dataclass
class Fault:
    """What happens to requests whose `METHOD /path` holds `where`, `times` of them.

    With a status, it is the answer; without, the connection dies: before the request is heard,
    or `after`, once it has done what it does. `hook` is called first.
    """

    where: str
    status: int | None = None
    times: int = 1
    after: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    hook: Callable[[], None] | None = None


@dataclass
class Stored:
    """A file of a commit: its bytes, and whether git holds a pointer to them only."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        """By which LFS names it."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def blob_id(self) -> str:
        """By which git names it."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        data = pointer.encode() if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def entry(self, path: str) -> dict[str, Any]:
        """As a tree lists it."""
        more = {"lfs": {"oid": self.sha256, "size": len(self.data), "pointerSize": 130}}
        head = {"type": "file", "oid": self.blob_id, "size": len(self.data), "path": path}
        return {**head, **(more if self.lfs else {})}


class Repository:
    """A data set: commits by id, branches and tags."""

    def __init__(self, private: bool = False) -> None:
        self.private = private
        self.commits: dict[str, dict[str, Stored]] = {}
        self.messages: dict[str, str] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.commit("main", {".gitattributes": Stored(ATTRIBUTES, lfs=False)}, "initial commit")

    def commit(self, branch: str, files: dict[str, Stored], message: str) -> str:
        """A commit of these files on a branch."""
        listing = json.dumps(
            [branch, len(self.commits), sorted((p, s.blob_id) for p, s in files.items())]
        )
        oid = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[oid], self.branches[branch] = files, oid
        self.messages[oid] = message
        return oid

    def at(self, revision: str) -> str | None:
        """The commit that a revision names."""
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        return oid if oid in self.commits else None

    @property
    def head(self) -> str:
        """The newest commit of main."""
        return self.branches["main"]

    @property
    def files(self) -> dict[str, bytes]:
        """What main holds."""
        return {path: stored.data for path, stored in self.commits[self.head].items()}


class Hub(ThreadingHTTPServer):
    """The state of the Hub; `requests` lists every `METHOD /path` with the bytes of its body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.RLock()
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[
            str, bytes
        ] = {}  # by SHA-256: LFS's, and the files that Xet put together
        self.xorbs: dict[str, list[bytes]] = {}
        self.granted: dict[str, bytes] = {}  # xorbs that were put and not committed
        self.unanswered: list[str] = []
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, int]] = []
        self.tokens = {TOKEN}

    @property
    def url(self) -> str:
        """For HF_ENDPOINT."""
        return f"http://127.0.0.1:{self.server_port}"

    def sent(self, *where: str) -> int:
        """Bytes of the bodies of the requests whose `METHOD /path` holds one of `where`."""
        return sum(size for line, size in self.requests if any(w in line for w in where))

    @property
    def uploaded(self) -> int:
        """Bytes of files that came by LFS or Xet."""
        return self.sent("PUT /lfs-objects/", "PUT /xorb-uploads/")

    def handle_error(self, *_: object) -> None:
        """Connections die on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        split = urlsplit(self.path)
        line = f"{self.command} {unquote(split.path)}"
        with self.server.lock:
            self.server.requests.append((line, len(body)))
            fault = next((f for f in self.server.faults if f.times and f.where in line), None)
            if fault:
                fault.times -= 1
        if fault and fault.hook:
            fault.hook()
        if fault and fault.status:
            said = (
                f"fault {fault.status} for {self.headers.get('authorization')}"  # a Hub that echoes
            )
            self._json({"error": said}, fault.status, fault.headers)
            return
        if fault and not fault.after and not fault.hook:
            self.close_connection = True
            return
        with self.server.lock:
            answer = self._answer(line, parse_qs(split.query), body)
        if fault and fault.after:
            self.close_connection = True
            return
        self._send(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = _any  # noqa: N815

    def _answer(self, line: str, query: Mapping[str, list[str]], body: bytes) -> tuple[Any, ...]:
        for pattern, name in _ROUTES:
            if found := re.fullmatch(pattern, line):
                answer: tuple[Any, ...] = getattr(self, name)(
                    *found.groups(), query=query, body=body
                )
                return answer
        self.server.unanswered.append(line)
        return _json({"error": f"no route {line}"}, 404)

    # --- what is there

    def _repository(self, repo: str) -> Repository | None:
        found = self.server.repositories.get(repo)
        return None if found and found.private and not self._allowed() else found

    def _allowed(self) -> bool:
        return self.headers.get("authorization", "").removeprefix("Bearer ") in self.server.tokens

    def whoami(self, **_: Any) -> tuple[Any, ...]:
        return _json({"name": "somebody", "type": "user", "orgs": []})

    def info(self, repo: str, revision: str | None = None, **_: Any) -> tuple[Any, ...]:
        found = self._repository(repo)
        if found is None:
            return _missing("RepoNotFound")
        oid = found.at(revision or "main")
        if oid is None:
            return _missing("RevisionNotFound")
        siblings = [{"rfilename": path} for path in sorted(found.commits[oid])]
        return _json(
            {
                "id": repo,
                "sha": oid,
                "private": found.private,
                "siblings": siblings,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "disabled": False,
                "gated": False,
            }
        )

    def refs(self, repo: str, **_: Any) -> tuple[Any, ...]:
        found = self._repository(repo)
        if found is None:
            return _missing("RepoNotFound")
        named = {
            kind: [
                {"name": n, "ref": f"refs/{short}/{n}", "targetCommit": oid}
                for n, oid in refs.items()
            ]
            for kind, short, refs in (
                ("branches", "heads", found.branches),
                ("tags", "tags", found.tags),
            )
        }
        return _json({**named, "converts": []})

    def tree(
        self, repo: str, revision: str, path: str | None = None, *, query: Any, **_: Any
    ) -> tuple[Any, ...]:
        found = self._repository(repo)
        if found is None:
            return _missing("RepoNotFound")
        oid = found.at(revision)
        if oid is None:
            return _missing("RevisionNotFound")
        prefix = f"{path.strip('/')}/" if path and path.strip("/") else ""
        below = {p: s for p, s in sorted(found.commits[oid].items()) if p.startswith(prefix)}
        if prefix and not below:
            return _missing("EntryNotFound")
        deep = query.get("recursive", ["false"])[0].lower() in {"true", "1"}
        entries, folders = [], set()
        for p, stored in below.items():
            parents = p[len(prefix) :].split("/")[:-1]
            for n in range(1, len(parents) + 1 if deep else min(len(parents), 1) + 1):
                folders.add(prefix + "/".join(parents[:n]))
            if deep or not parents:
                entries.append(stored.entry(p))
        entries += [
            {"type": "directory", "oid": "0" * 40, "size": 0, "path": f} for f in sorted(folders)
        ]
        return _json(entries)

    def paths_info(self, repo: str, revision: str, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        found = self._repository(repo)
        oid = found and found.at(revision)
        if not found or not oid:
            return _missing("RepoNotFound")
        kind = self.headers.get("content-type", "")
        asked = json.loads(body)["paths"] if "json" in kind else parse_qs(body.decode())["paths"]
        files = found.commits[oid]
        folders = [p for p in asked if any(f.startswith(f"{p}/") for f in files)]
        return _json(
            [files[p].entry(p) for p in asked if p in files]
            + [{"type": "directory", "oid": "0" * 40, "size": 0, "path": p} for p in folders]
        )

    def resolve(self, repo: str, revision: str, path: str, **_: Any) -> tuple[Any, ...]:
        found = self._repository(repo)
        if found is None:
            return _missing("RepoNotFound")
        oid = found.at(revision)
        if oid is None:
            return _missing("RevisionNotFound")
        stored = found.commits[oid].get(path)
        if stored is None:
            return _missing("EntryNotFound")
        data, code = stored.data, 200
        headers = {
            "X-Repo-Commit": oid,
            "Accept-Ranges": "bytes",
            "ETag": f'"{stored.sha256 if stored.lfs else stored.blob_id}"',
        }
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", "")):
            first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, code = data[first : last + 1], 206
        return code, data, headers

    # --- what changes it

    def create(self, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        if not self._allowed():
            return _refused()
        asked = json.loads(body)
        repo = "/".join(filter(None, (asked.get("organization"), asked["name"])))
        if repo in self.server.repositories:
            return _json({"error": "You already created this dataset repo"}, 409)
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.server.repositories[repo] = Repository(private)
        return _json({"url": f"{self.server.url}/datasets/{repo}", "name": repo})

    def validate_yaml(self, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        errors = cards.problems(json.loads(body)["content"])
        return _json(
            {"errors": [{"message": e} for e in errors], "warnings": []}, 400 if errors else 200
        )

    def _writable(self, repo: str) -> Repository | tuple[Any, ...]:
        if not self._allowed():
            return _refused()
        return self._repository(repo) or _missing("RepoNotFound")

    def preupload(self, repo: str, revision: str, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        found = self._writable(repo)
        if isinstance(found, tuple):
            return found
        here = found.commits[found.at(revision) or found.head]
        return _json(
            {
                "files": [
                    {
                        "path": f["path"],
                        "shouldIgnore": False,
                        "uploadMode": "lfs"
                        if f["path"].endswith((".parquet", ".png"))
                        else "regular",
                        **(
                            {
                                "oid": here[f["path"]].sha256
                                if here[f["path"]].lfs
                                else here[f["path"]].blob_id
                            }
                            if f["path"] in here
                            else {}
                        ),
                    }
                    for f in json.loads(body)["files"]
                ]
            }
        )

    def lfs_batch(self, repo: str, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        found = self._writable(repo)
        if isinstance(found, tuple):
            return found
        objects = []
        for o in json.loads(body)["objects"]:
            upload = {
                "upload": {"href": f"{self.server.url}/lfs-objects/{o['oid']}?signature=s"},
                "verify": {"href": f"{self.server.url}/lfs-verify"},
            }
            actions = {} if o["oid"] in self.server.objects else {"actions": upload}
            objects.append({"oid": o["oid"], "size": o["size"], **actions})
        return _json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        if hashlib.sha256(body).hexdigest() != oid:
            return _json({"error": "wrong bytes"}, 400)
        self.server.objects[oid] = body
        return _json({})

    def lfs_verify(self, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        asked = json.loads(body)
        held = self.server.objects.get(asked["oid"])
        return (
            _json({})
            if held is not None and len(held) == asked["size"]
            else _json({"error": "absent"}, 404)
        )

    def commit(self, repo: str, branch: str, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        found = self._writable(repo)
        if isinstance(found, tuple):
            return found
        head, *operations = [json.loads(line) for line in body.splitlines()]
        parent = head["value"].get("parentCommit")
        if parent and parent != found.branches[branch]:
            return _json(
                {"error": "A commit has happened since. Please refresh and try again."}, 412
            )
        files = dict(found.commits[found.branches[branch]])
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = Stored(base64.b64decode(value["content"]), lfs=False)
            elif operation["key"] == "lfsFile":
                if value["oid"] not in self.server.objects:
                    return _json({"error": f"LFS object {value['oid']} was not uploaded"}, 400)
                files[value["path"]] = Stored(self.server.objects[value["oid"]], lfs=True)
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        oid = found.commit(branch, files, head["value"]["summary"])
        return _json(
            {
                "success": True,
                "commitOid": oid,
                "commitUrl": f"{self.server.url}/datasets/{repo}/commit/{oid}",
            }
        )

    def tag(self, repo: str, revision: str, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        return self._ref(repo, revision, json.loads(body)["tag"], "tags")

    def branch(self, repo: str, name: str, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        return self._ref(
            repo, json.loads(body or b"{}").get("startingPoint", "main"), name, "branches"
        )

    def _ref(self, repo: str, revision: str, name: str, kind: str) -> tuple[Any, ...]:
        found = self._writable(repo)
        if isinstance(found, tuple):
            return found
        if kind == "tags" and not _TAG.fullmatch(name):
            return _json({"error": f"{name!r} is not a valid tag name"}, 400)
        if name in found.branches or name in found.tags:
            return _json({"error": f"Reference {name} already exists"}, 409)
        refs, oid = getattr(found, kind), found.at(revision)
        if oid is None:
            return _missing("RevisionNotFound")
        refs[name] = oid
        return _json({})

    # --- Xet

    def xet_token(self, repo: str, **_: Any) -> tuple[Any, ...]:
        found = self._writable(repo)
        if isinstance(found, tuple):
            return found
        expires = int(time.time()) + 3600
        headers = {
            "X-Xet-Cas-Url": self.server.url,
            "X-Xet-Access-Token": "xet",
            "X-Xet-Token-Expiration": str(expires),
        }
        code, body, more = _json({"casUrl": self.server.url, "accessToken": "xet", "exp": expires})
        return code, body, {**more, **headers}

    def chunk(self, name: str, **_: Any) -> tuple[Any, ...]:
        return _json({"error": f"no other data set has chunk {name}"}, 404)

    def xorb_grant(self, name: str, **_: Any) -> tuple[Any, ...]:
        if name in self.server.xorbs:
            return _json({})
        url = f"{self.server.url}/xorb-uploads/{name}"
        return _json({"id": name, "method": "PUT", "url": url, "headers": {}}, 201)

    def xorb_put(self, name: str, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        self.server.granted[name] = body
        return _json({})

    def xorb_commit(self, name: str, grant: str, **_: Any) -> tuple[Any, ...]:
        if grant not in self.server.granted:
            return _json({"error": "nothing was uploaded"}, 404)
        self.server.xorbs[name] = xet.chunks(self.server.granted.pop(grant))
        return _json({"was_inserted": True})

    def shard(self, *, body: bytes, **_: Any) -> tuple[Any, ...]:
        for sha256, parts in xet.files(body):
            data = b"".join(b"".join(self.server.xorbs[x][first:last]) for x, first, last in parts)
            if hashlib.sha256(data).hexdigest() != sha256:
                said = f"{sha256} is not what its chunks are"
                return _json({"type": "error", "message": said, "retryable": False})
            self.server.objects[sha256] = data
        return _json({"type": "result"})

    def telemetry(self, **_: Any) -> tuple[Any, ...]:
        return _json({})

    # --- answers

    def _json(self, value: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        status, body, more = _json(value, code)
        self._send(status, body, {**more, **(headers or {})})

    def _send(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def _json(value: Any, code: int = 200) -> tuple[int, bytes, dict[str, str]]:
    return code, json.dumps(value).encode(), {"Content-Type": "application/json"}


def _missing(code: str) -> tuple[int, bytes, dict[str, str]]:
    status, body, headers = _json({"error": code}, 404)
    return status, body, {**headers, "X-Error-Code": code, "X-Error-Message": code}


def _refused() -> tuple[int, bytes, dict[str, str]]:
    status, body, headers = _json({"error": "You do not have the rights"}, 403)
    return status, body, headers


_R = r"([^/]+/[^/]+)"
_ROUTES = [
    (r"GET /api/whoami-v2", "whoami"),
    (r"POST /api/repos/create", "create"),
    (r"POST /api/validate-yaml", "validate_yaml"),
    (rf"GET /api/datasets/{_R}", "info"),
    (rf"GET /api/datasets/{_R}/revision/(.+)", "info"),
    (rf"GET /api/datasets/{_R}/refs", "refs"),
    (rf"GET /api/datasets/{_R}/tree/([^/]+)", "tree"),
    (rf"GET /api/datasets/{_R}/tree/([^/]+)/(.*)", "tree"),
    (rf"POST /api/datasets/{_R}/paths-info/(.+)", "paths_info"),
    (rf"POST /api/datasets/{_R}/preupload/(.+)", "preupload"),
    (rf"POST /api/datasets/{_R}/commit/(.+)", "commit"),
    (rf"POST /api/datasets/{_R}/tag/(.+)", "tag"),
    (rf"POST /api/datasets/{_R}/branch/(.+)", "branch"),
    (rf"GET /api/datasets/{_R}/xet-write-token/.+", "xet_token"),
    (rf"POST /datasets/{_R}\.git/info/lfs/objects/batch", "lfs_batch"),
    (r"PUT /lfs-objects/(\w+)", "lfs_put"),
    (r"POST /lfs-verify", "lfs_verify"),
    (r"GET /v1/chunks/[\w-]+/(\w+)", "chunk"),
    (r"POST /v1/xorb-grants/default/(\w+)", "xorb_grant"),
    (r"PUT /xorb-uploads/(\w+)", "xorb_put"),
    (r"POST /v1/xorb-commits/default/(\w+)/grant/(\w+)", "xorb_commit"),
    (r"POST /v2/shards", "shard"),
    (r"POST /v1/telemetry", "telemetry"),
    (rf"(?:GET|HEAD) /datasets/{_R}/resolve/([^/]+)/(.+)", "resolve"),
]


@contextmanager
def endpoint() -> Iterator[Hub]:
    """A Hub while the block runs."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
