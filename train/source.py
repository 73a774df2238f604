"""A split on disk: its shards, its columns, and the context that its student was scored in.

Of a build, and of each view that was pushed to a data set of the Hub:

    manifest.json               data/*.parquet
    manifests/<config>.json     <config>/*.parquet
"""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from train.config import ConfigError, Source, TrainError, read, read_json
from train.rows import Template

ANEW = ". Build it or load it anew"


def find(source: Source, template: Template) -> list[tuple[Path, str]]:
    """The shards of a source and the SHA-256 of their bytes.

    TrainError or ConfigError if they cannot serve this student.
    """
    folder = _folder(source, "manifest.json", "manifests/*.json")
    views = sorted(path.stem for path in folder.glob("manifests/*.json"))
    view = source.config or (views[0] if len(views) == 1 else None)
    if view not in (views or {None}):
        raise ConfigError(f"{source.path}: set its `config` to one of {views}, it is {view!r}")
    wanted = source.files or (f"{view}/*.parquet" if view else "**/*.parquet")
    files = sorted(_folder(source, wanted, wanted.removeprefix("**/")).glob(wanted))
    manifest = folder / (f"manifests/{view}.json" if view else "manifest.json")
    if not files:
        raise TrainError(f"{folder} has no {wanted}: is it the folder of a build?")
    about = read_json(manifest, TrainError, ANEW) if manifest.exists() else {}
    for file in files:
        _check_columns(file)
    scored = about.get("scorers", {}).get("student", {})
    ours = {"chat_template": template.hash, "system_prompt": template.system}
    for name, value in ours.items():
        if scored.get("context") == "training_render" and scored[name] != value:
            raise ConfigError(f"{folder} was scored under {name} {scored[name]!r}, not {value!r}: "
                              "set the same `system` and tokenizer, or score anew")  # fmt: skip
    known = {(folder / (view or Path(one["path"]).parent) / Path(one["path"]).name, one["bytes"]):
             one["sha256"] for one in about.get("shards", [])}  # fmt: skip
    return [(file, known.get((file, file.stat().st_size)) or _hash(file)) for file in files]


def _folder(source: Source, *wanted: str) -> Path:
    if (folder := Path(source.path).expanduser()).exists():
        return folder
    from huggingface_hub import snapshot_download

    options: dict[str, Any] = {"revision": source.revision, "allow_patterns": list(wanted)}
    return Path(read(source.path, partial(snapshot_download, repo_type="dataset", **options)))


def _check_columns(file: Path) -> None:
    schema = read(file, pq.read_schema, TrainError, ANEW)
    if "messages" not in schema.names:
        raise TrainError(f"{file} has no column messages: `dasd-data build` writes it")
    chat = getattr(kind := schema.field("messages").type, "value_type", None)
    fields = list(chat) if isinstance(chat, pa.StructType) else []
    if not {"role", "content"} <= {f.name for f in fields if "string" in str(f.type)}:
        raise TrainError(f"{file}: messages is {kind}, not a list of role and content")


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
