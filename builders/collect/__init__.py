"""Questions from published data sets and local files, merged, and chosen by a recipe.

One module per kind of source, each opening with an example row. `recipe` says which sources and
how many questions of each domain, `load` reads rows from local files or from the Hugging Face
Hub, `pool` merges what is the same question and chooses, `stage` writes what is chosen.
"""

from __future__ import annotations

from builders.collect import (
    acereason,
    am_distilled,
    files,
    opencodereasoning,
    opensciencereasoning,
)
from builders.collect.source import Found, Kind, LeftOut

__all__ = ["KINDS", "Found", "Kind", "LeftOut"]

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND
    for module in (acereason, opencodereasoning, opensciencereasoning, am_distilled, files)
}
