"""The files of a repository: shards, manifests, pictures, the card and its Croissant twin."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence

from dasd_data import card
from dasd_data.build import Build
from dasd_data.card import croissant, histogram
from dasd_data.card.front import Manifest
from dasd_data.hub.compare import File

MANIFESTS = "manifests"


def wanted(
    repo: str,
    url: str,
    builds: Sequence[Build],
    others: Sequence[Manifest],
    languages: Sequence[str],
    there: Container[str],
) -> dict[str, File]:
    """The files by path: those of `builds`, and the card of them and of `others`.

    `others` are the manifests of configurations that stay as they are, and `there` what the
    repository holds.
    """
    files: dict[str, File] = {}
    pictures = {m["config"]: f"figures/{m['config']}.png" for m in others}
    pictures = {config: path for config, path in pictures.items() if path in there}
    for build in builds:
        manifest, folder = build.manifest, build.path
        assert folder is not None
        config = manifest["config"]
        for shard in manifest["shards"]:
            path = folder / shard["path"]
            files[f"{config}/{path.name}"] = File(path, shard["bytes"], shard["sha256"])
        files[manifest_path(config)] = File.of(_json(manifest))
        if manifest["facts"]["distributions"] and histogram.available():
            png = histogram.picture(manifest["facts"]["distributions"], config)
            pictures[config] = f"figures/{config}.png"
            files[pictures[config]] = File.of(png)
    manifests = sorted([*others, *(b.manifest for b in builds)], key=lambda m: str(m["config"]))
    page = card.of_repository(repo, manifests, languages, pictures)
    files["README.md"] = File.of(page.encode())
    described = croissant.describe(repo, url, manifests, languages)
    files["croissant.json"] = File.of(_json(described))
    return files


def manifest_path(config: str) -> str:
    """Where the manifest of a configuration is."""
    return f"{MANIFESTS}/{config}.json"


def _json(value: Mapping[str, object]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
