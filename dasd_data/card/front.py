"""The YAML at the head of a card, which the Hub and `datasets` read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

Manifest = Mapping[str, Any]

TAGS = ["distillation", "reasoning", "chain-of-thought", "dasd-data"]
_SIZES = [
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# What the Hub takes in `license`: https://huggingface.co/docs/hub/repositories-licenses
LICENSES = frozenset(Path(__file__).with_name("licenses.txt").read_text().split())


def render(
    manifests: Sequence[Manifest],
    data: Callable[[Manifest], str],
    languages: Sequence[str] | None = None,
) -> str:
    """The YAML block, with a configuration for each build.

    `data` tells the glob of a build's shards in the repository.
    """
    from huggingface_hub import DatasetCardData

    sources = [source for m in manifests for source in m["facts"]["sources"]]
    fields: dict[str, Any] = {
        "language": list(languages) if languages else None,
        **licence(sources),
        "task_categories": ["text-generation"],
        "size_categories": [size(sum(m["rows"] for m in manifests))],
        "source_datasets": _source_datasets(sources),
        "tags": TAGS,
        "configs": [_config(m, data(m), default=n == 0) for n, m in enumerate(manifests)],
        "dataset_info": [_info(m) for m in manifests if m["facts"]["features"]],
    }
    found = DatasetCardData(**fields)
    return f"---\n{found.to_yaml(line_break=chr(10))}\n---"


def licence(sources: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """`license`, and `license_name` where it is `other`, from those of the questions' sources.

    One licence that all sources name is it. Several, or one that the Hub does not know, are
    `other`; none at all is `unknown`.
    """
    named = {identifier(source["license"]) for source in sources}
    if len(named) > 1:
        return {"license": "other", "license_name": "mixed"}
    (only,) = named or {"unknown"}
    if only in LICENSES or only == "unknown":
        return {"license": only}
    return {"license": "other", "license_name": only}


def identifier(text: str | None) -> str:
    """A licence as the Hub writes it: `cc-by-4.0` of `CC BY 4.0`; `unknown` where none is named."""
    return re.sub(r"[^\w.+]+", "-", (text or "").strip().lower()).strip("-") or "unknown"


def size(rows: int) -> str:
    """The Hub's category of a number of rows."""
    return next((name for limit, name in _SIZES if rows < limit), "100M<n<1B")


def _source_datasets(sources: Iterable[Mapping[str, Any]]) -> list[str]:
    """The sources that are data sets of the Hub; `original` where none is."""
    found = {s["source"] for s in sources if _HUB_ID.fullmatch(s["source"])}
    return sorted(found) or ["original"]


def _config(manifest: Manifest, path: str, default: bool) -> dict[str, Any]:
    files = [{"split": "train", "path": path}]
    first = {"default": True} if default else {}
    return {"config_name": manifest["config"], "data_files": files, **first}


def _info(manifest: Manifest) -> dict[str, Any]:
    shards = manifest["shards"]
    in_memory = sum(shard["arrow_bytes"] for shard in shards)
    train = {"name": "train", "num_bytes": in_memory, "num_examples": manifest["rows"]}
    return {
        "config_name": manifest["config"],
        "features": manifest["facts"]["features"],
        "splits": [train],
        "download_size": sum(shard["bytes"] for shard in shards),
        "dataset_size": in_memory,
    }
