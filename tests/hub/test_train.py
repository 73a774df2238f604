"""What was pushed, as the trainer takes it from the Hub."""

from __future__ import annotations

import pytest

from tests.hub.test_push import BOTH, REPO, push
from tests.train.conftest import TINY, write_config
from train import data, source
from train.config import ConfigError, load
from train.rows import load_template

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")


def test_a_stage_trains_on_the_view_of_a_data_set_that_it_names(hub, catalog, tmp_path):
    """Stage 1 would train on the views of both temperatures, at once."""
    done = push(catalog, BOTH, REPO, tag="v1")
    low, _ = done.builds
    entry = {"path": REPO, "revision": "v1", "config": "low_t_das"}
    config = load(write_config(tmp_path / "c.toml", init_from=str(TINY), data=[entry]))
    template = load_template(config)
    ((file, digest),) = source.find(config.data[0], template)
    (shard,) = low.manifest["shards"]
    assert file.parent.name == "low_t_das" and digest == shard["sha256"]
    ids = data.load(config, template).column("id").tolist()
    assert len(ids) == low.manifest["rows"] > 0 and all(name.endswith("-0.6") for name in ids)
    with pytest.raises(ConfigError, match=r"\['high_t_das', 'low_t_das'\]"):
        source.find(load(tmp_path / "c.toml", [f"data={REPO}"]).data[0], template)
    with pytest.raises(ConfigError, match="cannot read somebody/else"):
        source.find(load(tmp_path / "c.toml", ["data=somebody/else"]).data[0], template)
