"""What the Hub's /api/validate-yaml refuses in a data set's card, as far as it is documented.

https://github.com/huggingface/hub-docs/blob/main/datasetcard.md and docs/hub/datasets-manual-configuration
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dasd_data import card

LICENSES = {*Path(card.__file__).with_name("licenses.txt").read_text().split(), "unknown"}
TASKS = {"text-generation", "question-answering"}
SIZES = {"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M"}


def problems(content: str) -> list[str]:
    """What is wrong with a card; empty: nothing."""
    found = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    if not found:
        return ["no YAML block at the head"]
    try:
        return list(_problems(yaml.safe_load(found[1])))
    except yaml.YAMLError as problem:
        return [str(problem)]


def _problems(head: dict[str, Any]) -> Iterator[str]:
    for name, known in (
        ("license", LICENSES),
        ("task_categories", TASKS),
        ("size_categories", SIZES),
    ):
        values = head.get(name, [])
        for value in [values] if isinstance(values, str) else values:
            if value not in known:
                yield f'"{name}" must be one of {sorted(known)}: {value}'
    if head.get("license_name") and head.get("license") != "other":
        yield '"license_name" goes with license: other'
    for name in ("language", "tags", "source_datasets"):
        if not all(isinstance(value, str) for value in head.get(name, [])):
            yield f'"{name}" must be a list of strings'
    if any(not re.fullmatch(r"[a-z]{2,3}", code) for code in head.get("language", [])):
        yield '"language" must be ISO 639 codes'
    names = [config.get("config_name") for config in head.get("configs", [])]
    if len(set(names)) != len(names) or None in names:
        yield '"config_name" must be there, and unique'
    for config in head.get("configs", []):
        for file in config.get("data_files", []):
            if set(file) != {"split", "path"}:
                yield '"data_files" must have split and path'
    for info in head.get("dataset_info", []):
        if info["config_name"] not in names:
            yield f"dataset_info of no config: {info['config_name']}"
