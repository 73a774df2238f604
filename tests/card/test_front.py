"""The head of a card: what the Hub and `datasets` read of it."""

from __future__ import annotations

import datasets
import pyarrow as pa
import pytest
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from dasd_data.card import front
from dasd_data.card.features import of_schema
from dasd_data.render import COLUMNS


def source(name, license):
    """A source of questions."""
    return {"source": name, "license": license, "questions": 1}


def manifest(**more):
    """A manifest of a build of 2,000 rows in two shards."""
    shards = [{"path": "data/a", "rows": 1_000, "bytes": 10, "arrow_bytes": 30}] * 2
    facts = {"sources": [source("openai/gsm8k", "MIT")], "features": of_schema(COLUMNS)}
    return {"config": "low", "rows": 2_000, "shards": shards, "facts": facts, **more}


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (["MIT", "mit"], {"license": "mit"}),
        (["CC BY 4.0"], {"license": "cc-by-4.0"}),
        (["Apache-2.0", "MIT"], {"license": "other", "license_name": "mixed"}),
        (["MIT", None], {"license": "other", "license_name": "mixed"}),
        ([None, ""], {"license": "unknown"}),
        ([], {"license": "unknown"}),
        (["MAA problems"], {"license": "other", "license_name": "maa-problems"}),
    ],
)
def test_the_licence_is_that_of_all_sources_or_other(licenses, expected):
    """A data set would be published under a licence that one of its sources does not give."""
    found = front.licence(source(f"s{n}", name) for n, name in enumerate(licenses))
    assert found == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(999, "n<1K"), (1_000, "1K<n<10K"), (448_000, "100K<n<1M"), (5_000_000, "1M<n<10M")],
)
def test_the_size_category_is_the_hub_s(rows, expected):
    """A search by size would not find it."""
    assert front.size(rows) == expected


def test_the_head_holds_what_datasets_reads():
    """`load_dataset` would guess features and sizes, or find no configuration."""
    two = manifest(config="high", rows=9_000)
    text = front.render([manifest(), two], lambda m: f"{m['config']}/x-*.parquet", ["en"])
    head = yaml.safe_load(text.strip("-"))
    assert head["configs"] == [
        {
            "config_name": "low",
            "default": True,
            "data_files": [{"split": "train", "path": "low/x-*.parquet"}],
        },
        {"config_name": "high", "data_files": [{"split": "train", "path": "high/x-*.parquet"}]},
    ]
    infos = DatasetInfosDict.from_dataset_card_data(DatasetCard(f"{text}\n").data)
    low = infos["low"]
    assert (low.splits["train"].num_examples, low.splits["train"].num_bytes) == (2_000, 60)
    assert (low.download_size, low.dataset_size) == (20, 60)
    assert low.features == datasets.Features.from_arrow_schema(COLUMNS)
    assert (head["license"], head["language"]) == ("mit", ["en"])
    assert head["size_categories"] == ["10K<n<100K"]
    assert head["source_datasets"] == ["openai/gsm8k"]


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.int8(), pa.int64(), pa.uint16(), pa.float32(), pa.float64(), pa.bool_(), pa.string()),
        *(pa.binary(), pa.date32(), pa.decimal128(10, 2), pa.timestamp("us", "UTC"), pa.null()),
        *(pa.timestamp("ms"), pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.int32())),
        pa.list_(pa.list_(pa.float32())),
        pa.list_(pa.struct([("a", pa.list_(pa.int32()))])),
        pa.struct([("a", pa.int8()), ("b", pa.list_(pa.string()))]),
    ],
)
def test_types_are_written_as_datasets_writes_them(kind):
    """A loader would cast a column to another type, or refuse the data set."""
    schema = pa.schema([("column", kind)])
    assert of_schema(schema) == datasets.Features.from_arrow_schema(schema)._to_yaml_list()


def test_a_type_that_datasets_has_no_name_for_leaves_the_features_out():
    """A view with such a column could not be published."""
    assert of_schema(pa.schema([("m", pa.map_(pa.string(), pa.int32()))])) is None
    text = front.render([manifest(facts={"sources": [], "features": None})], lambda m: "x")
    assert "dataset_info: []" in text or "dataset_info" not in text
