"""The small file by which a trainer finds a build: for LLaMA-Factory, axolotl or ms-swift.

Builds need no conversion: their `messages` are what all three read. Formats, as documented:
LLaMA-Factory data/README.md (dataset_info.json), axolotl docs/dataset-formats/conversation
(chat_template), ms-swift Customization/Custom-dataset (dataset_info.json).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dasd_data.builds import Known
from dasd_data.errors import UsageError


def write(build: Known, trainer: str, out: Path) -> Path:
    """Write the file of a trainer for a build into the folder `out`.

    An entry of the same build is replaced, others of the file stay. Raises UsageError where the
    file holds something else.
    """
    name, render = TRAINERS[trainer]
    path = out / name
    try:
        before = path.read_text() if path.exists() else ""
        text = render(before, build.folder.resolve(), build.manifest)
    except (ValueError, TypeError, AttributeError, KeyError, yaml.YAMLError):
        raise UsageError(f"{path} is not what {trainer} reads: choose another --out") from None
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _llamafactory(before: str, folder: Path, manifest: Mapping[str, Any]) -> str:
    entries: dict[str, Any] = dict(json.loads(before or "{}"))
    entries[manifest["config"]] = {
        "file_name": str(folder / "data"),
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def _axolotl(before: str, folder: Path, manifest: Mapping[str, Any]) -> str:
    config: dict[str, Any] = dict(yaml.safe_load(before) or {}) if before else {}
    data = str(folder / "data")
    entry = {
        "path": data,
        "ds_type": "parquet",
        "data_files": [str(folder / shard["path"]) for shard in manifest["shards"]],
        "split": "train",
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {"role": "role", "content": "content"},
        "roles_to_train": ["assistant"],
    }
    others = [e for e in config.get("datasets", []) if e["path"] != data]
    config["datasets"] = [*others, entry]
    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return text


def _swift(before: str, folder: Path, manifest: Mapping[str, Any]) -> str:
    data = str(folder / "data")
    entries = [e for e in json.loads(before or "[]") if e.get("dataset_path") != data]
    entries.append({"dataset_path": data, "columns": {"messages": "messages"}})
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


TRAINERS: dict[str, tuple[str, Callable[[str, Path, Mapping[str, Any]], str]]] = {
    "llamafactory": ("dataset_info.json", _llamafactory),
    "axolotl": ("axolotl.yaml", _axolotl),
    "swift": ("dataset_info.swift.json", _swift),
}
