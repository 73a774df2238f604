"""A repository described in Croissant 1.0 with its responsible-AI vocabulary (RAI 1.0).

https://docs.mlcommons.org/croissant/docs/croissant-spec.html, croissant-rai-spec.html
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from dasd_data.card import front
from dasd_data.card.front import Manifest

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {"string": "sc:Text", "large_string": "sc:Text", "bool": "sc:Boolean"}
_TYPES |= {"date32[day]": "sc:Date"}


def describe(
    repo: str, url: str, manifests: Sequence[Manifest], languages: Sequence[str]
) -> dict[str, Any]:
    """The JSON-LD of a repository with a configuration for each build."""
    sources = [s for m in manifests for s in m["facts"]["sources"]]
    which = front.licence(sources)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.0",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": repo.rpartition("/")[2],
        "description": "; ".join(f"{m['config']}: {m['description']}" for m in manifests),
        "license": which.get("license_name", which["license"]),
        "url": url,
        "creator": {"@type": "sc:Organization", "name": repo.partition("/")[0]},
        "datePublished": max(m["built_at"] for m in manifests)[:10],
        "inLanguage": list(languages),
        "keywords": front.TAGS,
        "citeAs": "Distribution-Aligned Sequence Distillation, arXiv:2601.09088",
        "isLiveDataset": False,
        "distribution": [_repository(url), *(_files(m) for m in manifests)],
        "recordSet": [_records(m) for m in manifests],
        **{f"rai:{name}": text for name, text in _responsible(manifests, sources).items()},
    }


def _repository(url: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": "repo",
        "name": "repo",
        "description": "The git repository.",
        "contentUrl": f"{url}/tree/main",
        "encodingFormat": "git+https",
        "sha256": "https://github.com/mlcommons/croissant/issues/80",
    }


def _files(manifest: Manifest) -> dict[str, Any]:
    config = manifest["config"]
    return {
        "@type": "cr:FileSet",
        "@id": f"{config}-files",
        "containedIn": {"@id": "repo"},
        "encodingFormat": "application/x-parquet",
        "includes": f"{config}/train-*.parquet",
    }


def _records(manifest: Manifest) -> dict[str, Any]:
    config = manifest["config"]
    return {
        "@type": "cr:RecordSet",
        "@id": config,
        "name": config,
        "description": f"{manifest['description']}. {manifest['rows']:,} rows.",
        "key": [{"@id": f"{config}/{name}"} for name in manifest["key"]],
        "field": [_field(config, column) for column in manifest["facts"]["columns"]],
    }


def _field(config: str, column: dict[str, str]) -> dict[str, Any]:
    name = column["name"]
    head = {"@type": "cr:Field", "@id": f"{config}/{name}", "name": name}
    head |= {"description": column["comment"]} if column["comment"] else {}
    source = {"fileSet": {"@id": f"{config}-files"}, "extract": {"column": name}}
    if column["type"].startswith("list<element: struct<role"):
        parts = [
            {
                "@type": "cr:Field",
                "@id": f"{config}/{name}/{part}",
                "name": part,
                "dataType": "sc:Text",
                "source": {**source, "transform": {"jsonPath": part}},
            }
            for part in ("role", "content")
        ]
        return {**head, "repeated": True, "subField": parts}
    return {**head, "dataType": _type(column["type"]), "source": source}


def _type(arrow: str) -> str:
    if arrow in {"float", "double", "halffloat"} or arrow.startswith("decimal"):
        return "sc:Float"
    if arrow.startswith(("int", "uint")):
        return "sc:Integer"
    if arrow.startswith("timestamp"):
        return "sc:DateTime"
    return _TYPES.get(arrow, "sc:Text")


def _responsible(
    manifests: Sequence[Manifest], sources: Sequence[Any]
) -> dict[str, str | list[str]]:
    """The responsible-AI fields, from what the builds recorded."""
    models = sorted({s["model"] for m in manifests for s in m["scorers"].values()})
    conditions = [step["condition"] for m in manifests for step in m["funnel"]]
    return {
        "dataCollection": "Questions were taken from the sources below; responses were sampled "
        "from a teacher model, and their sentences scored under teacher and student.",
        "dataCollectionType": ["Secondary Data analysis", "Software Collection"],
        "dataCollectionRawData": sorted({s["source"] for s in sources}),
        "machineAnnotationTools": models,
        "dataAnnotationProtocol": "Each sentence has the geometric mean of its token probabilities "
        "under each model; its label compares them. No person annotated anything.",
        "dataPreprocessingProtocol": list(dict.fromkeys(conditions)),
        "dataManipulationProtocol": json.dumps(
            {m["config"]: f"build {m['build_id']}" for m in manifests}, sort_keys=True
        ),
        "dataUseCases": "Training a student model on the reasoning of a teacher. Not for judging "
        "the models, nor as a source of facts.",
        "dataLimitations": "Responses are model output and may be wrong; the choice depends on "
        "the models, their precision and prompts.",
        "dataBiases": "Those of the sources and of the teacher; a choice by the count of Teacher "
        "sentences prefers long responses, as the card's length ratio tells.",
        "personalSensitiveInformation": "Not searched for beyond the filters named in the funnel.",
        "dataReleaseMaintenancePlan": "Every revision is a commit; manifests name what it is made "
        "of, and by which command it is made again.",
    }
