"""The card as a page: of one build, or of a repository with a configuration for each build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dasd_data.card import body, front
from dasd_data.card.front import Manifest
from dasd_data.card.markdown import table

_CITATION = """\
The method is that of:

```bibtex
@misc{dasd2026,
  title         = {Distribution-Aligned Sequence Distillation},
  year          = {2026},
  eprint        = {2601.09088},
  archivePrefix = {arXiv},
  url           = {https://arxiv.org/abs/2601.09088}
}
```"""


def of_build(manifest: Manifest) -> str:
    """The card in the folder of a build."""
    head = front.render([manifest], lambda _: "data/train-*.parquet")
    said = f"# {manifest['view']}\n\n{manifest['description']}.\n\n{manifest['rows']:,} rows."
    text = body.render(manifest, "##", "manifest.json")
    return "\n\n".join([head, said, text, *_ends([manifest])]) + "\n"


def of_repository(
    repo: str,
    manifests: Sequence[Manifest],
    languages: Sequence[str],
    pictures: Mapping[str, str],
) -> str:
    """The card of a repository; `pictures` maps configurations to paths of their pictures."""
    name = repo.rpartition("/")[2]
    listed = [
        {
            "configuration": f"`{m['config']}`",
            "rows": m["rows"],
            "MB": round(sum(shard["bytes"] for shard in m["shards"]) / 1e6, 1),
            "what": m["description"],
        }
        for m in manifests
    ]
    load = (
        f"```python\nfrom datasets import load_dataset\n\n"
        f'rows = load_dataset("{repo}", "{manifests[0]["config"]}", split="train")\n```'
    )
    parts = [
        front.render(manifests, lambda m: f"{m['config']}/train-*.parquet", languages),
        f"# {name}\n\nReasoning traces of a teacher model, chosen for training a student by the "
        "probability of every sentence under both. Each configuration is one choice.",
        table(listed),
        load,
    ]
    for m in manifests:
        path = f"manifests/{m['config']}.json"
        parts += [
            f"## {m['config']}\n\n{m['description']}.\n\n{m['rows']:,} rows.",
            body.render(m, "###", path, pictures.get(m["config"])),
        ]
    return "\n\n".join([*parts, *_ends(manifests)]) + "\n"


def _ends(manifests: Sequence[Manifest]) -> Iterable[str]:
    """What holds for all of a card's builds."""
    sources = {
        (s["source"], front.identifier(s["license"])): s
        for m in manifests
        for s in m["facts"]["sources"]
    }
    rows = [{"source": name, "licence": which} for name, which in sorted(sources)]
    yield (
        "## Sources and licences\n\nThe questions come from these sources, under these licences; "
        "the responses are the output of the models named under Scorers, whose terms apply to "
        f"them.\n\n{table(rows)}"
    )
    yield (
        "## Limits\n\nResponses are model output: they hold errors, and a wrong answer may be "
        "chosen. Nothing was filtered for correctness, bias or personal data beyond the "
        "conditions of the funnel. Probabilities depend on both models, their precision and their "
        "prompts; for another student the choice is another."
    )
    yield f"## Citation\n\n{_CITATION}"
