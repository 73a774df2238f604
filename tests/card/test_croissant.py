"""The Croissant description of a repository."""

from __future__ import annotations

import json

import pytest

from dasd_data.build import build
from dasd_data.card import croissant

SCORES = {"teacher": [(6, 0.9)] * 3, "student": [(6, 0.5), (6, 0.9), (6, 0.95)]}


@pytest.fixture
def described(made, response):
    """A repository of two builds."""
    catalog = made(
        *(
            response(f"A{i}-{t}", question="A", temperature=t, scores=SCORES)
            for i in (0, 1)
            for t in (0.6, 1.0)
        )
    )
    manifests = [build(catalog, v, robustness="off").manifest for v in ("low_t_das", "high_t_das")]
    return manifests, croissant.describe(
        "org/name", "https://hub/datasets/org/name", manifests, ["en"]
    )


def test_every_column_is_a_field_of_its_shards(described):
    """A loader of Croissant would miss columns, or look for them in another configuration."""
    manifests, found = described
    sets = {d["@id"]: d["includes"] for d in found["distribution"] if d["@type"] == "cr:FileSet"}
    for manifest, records in zip(manifests, found["recordSet"], strict=True):
        config = manifest["config"]
        assert [f["name"] for f in records["field"]] == [
            c["name"] for c in manifest["facts"]["columns"]
        ]
        leaves = [leaf for f in records["field"] for leaf in f.get("subField", [f])]
        assert {sets[leaf["source"]["fileSet"]["@id"]] for leaf in leaves} == {
            f"{config}/train-*.parquet"
        }
        types = {f["name"]: f.get("dataType") for f in records["field"]}
        assert (types["rank_value"], types["n_sentences"]) == ("sc:Float", "sc:Integer")
        assert (types["response_id"], types["messages"]) == ("sc:Text", None)


def test_responsible_ai_fields_tell_what_was_done(described):
    """A reader of the metadata alone would not know the sources, the models or the filters."""
    _, found = described
    assert "http://mlcommons.org/croissant/RAI/1.0" in found["conformsTo"]
    assert found["rai:dataCollectionRawData"] == ["made"]
    assert found["rai:machineAnnotationTools"] == ["student-model", "teacher-model"]
    assert "passed filter cjk (version 1)" in found["rai:dataPreprocessingProtocol"]
    assert all(found[f"rai:{name}"] for name in ("dataLimitations", "dataBiases", "dataUseCases"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_reference_validator_takes_it(described, tmp_path):
    """The Hub and search engines would not read it."""
    mlcroissant = pytest.importorskip("mlcroissant")
    path = tmp_path / "croissant.json"
    path.write_text(json.dumps(described[1]))
    dataset = mlcroissant.Dataset(path)
    assert not dataset.metadata.ctx.issues.errors
    assert [r.name for r in dataset.metadata.record_sets] == ["low_t_das", "high_t_das"]
