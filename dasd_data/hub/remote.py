"""One data set of the Hub, and what the Hub refuses as errors of this project.

The token comes from the environment or the Hub's login, and is in no message: those of libraries
may hold the request that failed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, TypeVar

from dasd_data.errors import ConflictError, DasdError, DeniedError, RemoteError, UsageError
from dasd_data.hub import failures
from dasd_data.hub.compare import Changes, File, Known, compare

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

T = TypeVar("T")

ATTEMPTS, WAIT_S, LONGEST_WAIT_S = 5, 1.0, 60.0
_REFUSED = {401, 402, 403}
_SECRET = re.compile(r"hf_\w{4,}|(?i:bearer)\s+[^\s'\"]+")
_DATASET = "dataset"
BATCH_BYTES = 5 << 30  # of files that the Hub is told of at once
_LONGEST = 300  # characters of what a library says


@dataclass(frozen=True)
class State:
    """What a repository holds at a commit, its head or another, and the commits of its tags."""

    head: str
    files: Mapping[str, Known] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    branches: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether nobody has put anything there: the Hub itself writes .gitattributes."""
        return not self.files.keys() - {".gitattributes"}


class Remote:
    """A data set of the Hub. Requests are repeated while the Hub is busy.

    Raises RemoteError where it stays so, DeniedError where it refuses the token, ConflictError.
    What this machine refuses (a file that is gone, a full disk) stays the OSError that it is.
    """

    def __init__(self, repo: str, *, writes: bool = False) -> None:
        from huggingface_hub import get_token
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils._validators import validate_repo_id

        try:
            validate_repo_id(repo)
        except HFValidationError as problem:
            raise UsageError(f"{repo!r} cannot be a data set of the Hub: {problem}") from None
        if "/" not in repo:
            raise UsageError(f"{repo!r} cannot be a data set of the Hub: write NAMESPACE/NAME")
        self.repo = repo
        self._may = "write to" if writes else "read"
        self._token = get_token()
        if self._token and not (self._token.isascii() and self._token.isprintable()):
            raise DeniedError(
                "the token holds characters that no request can carry: set HF_TOKEN anew, or "
                "run `hf auth login`"
            )

    @cached_property
    def api(self) -> HfApi:
        """The client of the Hub."""
        from huggingface_hub import HfApi

        return HfApi(token=self._token or False)

    @property
    def endpoint(self) -> str:
        """The address of the Hub."""
        return str(self.api.endpoint)

    @property
    def url(self) -> str:
        """The page of the data set."""
        return f"{self.endpoint}/datasets/{self.repo}"

    def need_token(self) -> None:
        """Raise DeniedError where there is no token."""
        if not self._token:
            raise DeniedError("no token: set HF_TOKEN, or run `hf auth login`")

    def state(self, revision: str | None = None) -> State | None:
        """What the repository holds, at its head or at a revision.

        None where there is no repository, or none that the token may see. Raises UsageError for no
        such revision.
        """
        from huggingface_hub import RepoFile
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        def look() -> State | None:
            try:
                info = self.api.repo_info(self.repo, repo_type=_DATASET, revision=revision)
            except RepositoryNotFoundError:
                return None
            except RevisionNotFoundError:
                raise UsageError(f"{self.url} has no revision {revision}") from None
            tree = self.api.list_repo_tree(
                self.repo, repo_type=_DATASET, revision=info.sha, recursive=True
            )
            files = {
                entry.path: Known(
                    entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None
                )
                for entry in tree
                if isinstance(entry, RepoFile)
            }
            refs = self.api.list_repo_refs(self.repo, repo_type=_DATASET)
            tags = {tag.name: tag.target_commit for tag in refs.tags}
            branches = frozenset(branch.name for branch in refs.branches)
            return State(str(info.sha), files, tags, branches)

        return self._call("look at", look)

    def read(self, path: str, revision: str) -> bytes:
        """A file at a commit."""

        def get() -> bytes:
            found = self.api.hf_hub_download(self.repo, path, repo_type=_DATASET, revision=revision)
            return Path(found).read_bytes()

        return self._call(f"read {path} of", get)

    def check_card(self, text: str) -> None:
        """Have the Hub look at a card, before anything is sent. Raises UsageError."""
        from huggingface_hub import DatasetCard

        def check() -> str:
            try:
                DatasetCard(text).validate(repo_type=_DATASET)
            except ValueError as problem:
                return _reasons(str(problem)) or "no reason given"
            return ""

        if said := self._call("check the card of", check):
            raise UsageError(f"the Hub does not take the card of {self.url}: {said[:_LONGEST]}")

    def create(self, private: bool) -> State:
        """Create the repository; what it holds then."""

        def make() -> State | None:
            self.api.create_repo(self.repo, repo_type=_DATASET, private=private, exist_ok=True)
            return self.state()

        state = self._call("create", make)
        if state is None:
            raise DeniedError(f"{self.url} is there, and the token may not see it")
        return state

    def send(self, wanted: Mapping[str, File], paths: Iterable[str]) -> list[CommitOperationAdd]:
        """Send the files at `paths` that the Hub lacks; what a commit then says of them.

        A batch that is there once is not sent again by a push that goes on after it died.
        """
        from huggingface_hub import CommitOperationAdd

        additions, batch, size = [], [], 0
        for path in paths:
            if isinstance(content := wanted[path].content, Path):
                content.stat()  # raises what the client calls a ValueError
            addition = CommitOperationAdd(path, content)
            addition.upload_info.sha256 = bytes.fromhex(wanted[path].sha256)  # it hashes no more
            additions.append(addition)
        for addition in additions:
            batch.append(addition)
            size += addition.upload_info.size
            if size >= BATCH_BYTES or addition is additions[-1]:
                self._send(batch)
                batch, size = [], 0
        return additions

    def _send(self, batch: list[CommitOperationAdd]) -> None:
        self._call(
            "send files to",
            lambda: self.api.preupload_lfs_files(self.repo, batch, repo_type=_DATASET),
            attempts=1,
            errors=failures.of_uploads,
        )

    def commit(
        self,
        wanted: Mapping[str, File],
        changes: Changes,
        folders: Sequence[str],
        parent: str,
        message: str,
        description: str,
    ) -> str:
        """Make all changes in one commit after `parent`; its id.

        A request that failed may have been heard: then the head has what is wanted, and is it.
        Raises ConflictError where the head is another one.
        """
        from huggingface_hub import CommitOperationDelete

        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            *self.send(wanted, changes.sent),
            *(CommitOperationDelete(path, is_folder=False) for path in changes.removed),
        ]
        for left in reversed(range(ATTEMPTS)):
            try:
                done = self.api.create_commit(
                    self.repo,
                    operations,
                    repo_type=_DATASET,
                    parent_commit=parent,
                    commit_message=message,
                    commit_description=description,
                )
                return str(done.oid)
            except failures.of_requests() as error:
                now = self.state()
                if now and now.head != parent:
                    if not compare(wanted, now.files, folders):
                        return now.head
                    raise self.moved(now.head, parent) from None
                self._wait(error, "commit to", left)
        raise AssertionError("attempts end in an error")

    def moved(self, head: str, parent: str) -> ConflictError:
        """Another commit came after the one that was seen."""
        return ConflictError(
            f"{self.url} is at {head[:12]}, not at {parent[:12]}: another wrote to it, and nothing "
            f"of it was changed. Look at {self.url}/commit/{head}, then push with --parent {head}"
        )

    def tag(self, name: str, revision: str) -> None:
        """Put a tag on a commit. Raises ConflictError where it is on another."""

        def put() -> State | None:
            self.api.create_tag(
                self.repo, tag=name, revision=revision, repo_type=_DATASET, exist_ok=True
            )
            return self.state()

        state = self._call(f"put the tag {name} on", put)
        self.check_tag(name, revision, state.tags if state else {})

    def check_tag(self, name: str, revision: str | None, tags: Mapping[str, str]) -> None:
        """Raise ConflictError where a tag is there, and not on this commit."""
        if name in tags and tags[name] != revision:
            raise ConflictError(
                f"tag {name} of {self.url} is on commit {tags[name][:12]}, and a tag stays where "
                "it is: choose another --tag"
            )

    def _call(
        self,
        what: str,
        request: Callable[[], T],
        attempts: int = ATTEMPTS,
        errors: Callable[[], tuple[type[Exception], ...]] = failures.of_requests,
    ) -> T:
        """The answer to a request, repeated while the Hub is busy.

        One attempt is for what the client itself repeats: uploads.
        """
        for left in reversed(range(attempts)):
            try:
                return request()
            except DasdError:
                raise
            except errors() as error:
                self._wait(error, what, left)
        raise AssertionError("attempts end in an error")

    def _wait(self, error: BaseException, what: str, left: int) -> None:
        """Wait before one of the attempts that are left; raises what the error is without."""
        if local := failures.local(error):
            raise local from None
        if not left or not failures.passes(error):
            raise self._translated(error, what) from None
        asked = failures.header(error, "retry-after")
        wait = float(asked) if asked.isdecimal() else WAIT_S * 2 ** (ATTEMPTS - 1 - left)
        sleep(min(wait, LONGEST_WAIT_S))

    def _translated(self, error: BaseException, what: str) -> DasdError:
        status = failures.status(error)
        # The client wraps what went wrong with an upload; an answer says more by itself.
        inner = error if hasattr(error, "response") else error.__cause__ or error
        said = " ".join(str(inner).split())
        if self._token:
            said = said.replace(self._token, "***")
        said = _SECRET.sub("***", said)[:_LONGEST]
        where = f"could not {what} {self.url}"
        if status in _REFUSED or isinstance(error, PermissionError):
            return DeniedError(
                f"{where}: the Hub refused it to this token ({said}); it needs to be one that may "
                f"{self._may} {self.repo.partition('/')[0]}"
            )
        if status in {409, 412}:
            return ConflictError(f"{where}: {said}")
        again = "run the same command again"
        if self._may != "read":
            again += ": it sends only what is missing"
        return RemoteError(f"{where}: {type(error).__name__}: {said}; {again}")


def _reasons(said: str) -> str:
    """The messages of what /api/validate-yaml answers, or the answer as it is."""
    try:
        messages = [str(error["message"]) for error in json.loads(said)["errors"]]
    except (ValueError, LookupError, TypeError):
        messages = [said]
    return " ".join("; ".join(messages).split())
