"""Which model and tokenizer a score belongs to: names and content hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from builders import hub
from builders.tokens.table import TokenTable
from dasd_data.errors import DataError, UsageError

SAFETENSORS = ("*.safetensors", "*.safetensors.index.json")
PICKLES = ("*.bin", "*.bin.index.json")
WEIGHTS = (*SAFETENSORS, *PICKLES)
TOKENIZER = ("tokenizer.json", "*.model", "vocab.json", "merges.txt", "vocab.txt", "*.tiktoken")
SMALL = ("config.json", "generation_config.json", "tokenizer_config.json", "*.jinja")


def model_folder(model: str | Path, revision: str | None = None) -> tuple[Path, str, str]:
    """(folder, name, revision) of a local folder or of a repository on the Hugging Face Hub.

    A local folder's revision is the hash of its weights and configuration; a repository's is its
    commit. Of a repository the top folder is downloaded, without any code, and `*.bin` weights
    only where there are no safetensors. Raises UsageError if there is no such model, RemoteError
    if the Hub was not reached.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder, folder.resolve().name, hash_files(folder, (*WEIGHTS, "config.json"))
    from huggingface_hub import snapshot_download

    def download(at: str | None, patterns: tuple[str, ...]) -> Path:
        found = snapshot_download(
            str(model), revision=at, allow_patterns=list(patterns), ignore_patterns="*/*"
        )
        return Path(found)

    missing = UsageError(
        f"no model at {str(model)!r}: neither a folder nor a repository that the Hub gives; give a "
        "folder with config.json, or owner/name (HF_TOKEN opens private and gated ones)"
    )
    with hub.translated(f"model {str(model)!r}", missing):
        found = download(revision, (*SAFETENSORS, *TOKENIZER, *SMALL))
        if not any(found.glob("*.safetensors")):
            found = download(found.name, PICKLES)
    return found, str(model), found.name


def tokenizer_folder(path_or_id: str | Path, revision: str | None = None) -> Path:
    """A local folder with tokenizer and chat template, or that of a repository on the Hub.

    Raises UsageError if there is none, RemoteError if the Hub was not reached.
    """
    folder = Path(path_or_id)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    at = f" of revision {revision!r}" if revision else ""
    missing = UsageError(
        f"no tokenizer at {str(path_or_id)!r}{at}: neither a folder nor a repository that the Hub "
        "gives; name the model's own with --tokenizer"
    )
    with hub.translated(f"tokenizer {str(path_or_id)!r}", missing):
        patterns = [*TOKENIZER, *SMALL]
        return Path(
            snapshot_download(
                str(path_or_id), revision=revision, allow_patterns=patterns, ignore_patterns="*/*"
            )
        )


def tokenizer_name(folder: Path) -> str | None:
    """The name of the folder's `TokenTable`; None where it has none whose bytes are known."""
    try:
        return TokenTable.load(folder).name
    except (UsageError, DataError):
        return None


def hash_files(folder: Path, patterns: tuple[str, ...]) -> str:
    """SHA-256 over the names and SHA-256 of the matching files, shortened to 12 hex digits."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name}\0{digest}\n".encode())
    return total.hexdigest()[:12]
