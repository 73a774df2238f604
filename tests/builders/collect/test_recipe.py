"""Recipes: what they say, and what is said where they are wrong."""

from __future__ import annotations

import pytest

from builders.collect import KINDS
from builders.collect import recipe as recipes
from dasd_data.errors import ConfigError, UnknownNameError

SOURCE = '[sources.mine]\nkind = "files"\npath = "q.jsonl"\n'


def test_the_shipped_recipe_is_that_of_the_paper():
    """`dasd-data collect` would collect from other sources than its name says."""
    found = recipes.load("dasd")
    assert {s.name: s.hub for s in found.sources} == {
        "acereason": "nvidia/AceReason-1.1-SFT",
        "opencodereasoning": "nvidia/OpenCodeReasoning",
        "opensciencereasoning": "nvidia/OpenScienceReasoning-2",
        "am_distilled": "a-m-team/AM-DeepSeek-R1-Distilled-1.4M",
    }
    budgets = {name: d.budget for name, d in found.domains.items()}
    assert budgets == {
        "math": 103_300, "code": 91_300, "science": 65_200, "instruction_following": 70_000,
        "other": None,
    }  # fmt: skip
    orders = {name for name, d in found.domains.items() if d.order == "longer_answers"}
    assert orders == {"science"}
    assert {d.seed for d in found.domains.values()} == {42}
    assert recipes.load("builders/recipes/dasd.toml") == found
    assert [k.license for k in KINDS.values()] == [
        "cc-by-4.0", "cc-by-4.0", "cc-by-4.0", "cc-by-nc-4.0", None,
    ]  # fmt: skip


def test_what_a_recipe_says_comes_before_its_kind(recipe, tmp_path):
    """A setting would be read and ignored."""
    found = recipe(
        "seed = 3\n[domains.math]\nbudget = 5\n[domains.science]\nseed = 4\n"
        '[sources.acereason]\nrevision = "v1"\nconfigs = ["a"]\nsplit = "test"\nonly = ["x"]\n'
        'domains = ["math", "code"]\nlicense = "mit"\n'
        '[sources.local]\nkind = "files"\npath = ["a.jsonl", "/b.jsonl"]\nmap = {question = "q"}\n'
    )
    assert found.domains["math"] == recipes.Domain(5, 3, "random")
    assert found.domains["science"] == recipes.Domain(None, 4, "random")
    ace, local = found.sources
    assert (ace.hub, ace.revision, ace.configs) == ("nvidia/AceReason-1.1-SFT", "v1", ("a",))
    assert (ace.split, ace.only, ace.domains, ace.license) == (
        "test", ("x",), ("math", "code"), "mit",
    )  # fmt: skip
    assert local.paths == (str(tmp_path / "a.jsonl"), "/b.jsonl")
    assert (local.title, ace.title) == ("local", "nvidia/AceReason-1.1-SFT")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", "not TOML"),
        ("", "there is no source"),
        ("sed = 1\n" + SOURCE, r"'sed'; did you mean 'seed'\? \(.*recipe\.toml\)"),
        ("seed = 1.5\n" + SOURCE, "seed must be a whole number"),
        ("seed = true\n" + SOURCE, "seed must be a whole number"),
        ("[domains.maths]\nbudget = 1\n" + SOURCE, r"'maths'; did you mean 'math'\?.*\[domains\]"),
        ("[domains.math]\nbudget = -1\n" + SOURCE, r"\[domains\.math\]: budget = -1"),
        ('[domains.math]\nbudget = "9"\n' + SOURCE, r"\[domains\.math\]: budget must be a whole"),
        (
            "[domains.math]\nbuget = 9\n" + SOURCE,
            r"'buget'; did you mean 'budget'\?.*domains\.math",
        ),
        (
            '[domains.math]\norder = "longest"\n' + SOURCE,
            r"no order named 'longest'.*domains\.math",
        ),
        ("[domains]\nmath = 5\n" + SOURCE, r"\[domains\.math\] is not a table"),
        ("[sources.acereson]\n", r"'acereson'; did you mean 'acereason'\? \(set `kind`\)"),
        ('[sources.x]\nkind = "parquet"\n', r"no kind of source named 'parquet'.*\[sources\.x\]"),
        ('[sources.x]\nkind = "files"\n', r"\[sources\.x\]: it needs a path"),
        (SOURCE + "pat = 1\n", r"'pat'; did you mean 'path'\?.*\[sources\.mine\]"),
        (SOURCE + 'domains = "math"\n', r"\[sources\.mine\]: domains must be a list of texts"),
        (SOURCE + "only = [1]\n", r"\[sources\.mine\]: only must be a list of texts"),
        (SOURCE + 'domain = "chemistry"\n', r"'chemistry'.*\[sources\.mine\]"),
        (SOURCE + 'map = { quest = "q" }\n', r"'quest'; did you mean 'question'\?.*mine\]: map"),
        ('[sources.acereason]\nmap = { question = "q" }\n', "acereason has its own columns"),
        (
            '[sources.a]\nkind = "acereason"\n[sources.b]\nkind = "acereason"\n',
            r"\[sources\.a\] and \[sources\.b\] are both nvidia",
        ),
    ],
)
def test_an_error_names_the_file_and_the_table(recipe, text, message):
    """A misspelt budget would be none, or nobody would find the line."""
    with pytest.raises((ConfigError, UnknownNameError), match=message) as caught:
        recipe(text)
    assert "recipe.toml" in str(caught.value)


def test_a_recipe_that_is_not_there_offers_the_shipped_ones(tmp_path):
    """A user would not know that there are any."""
    with pytest.raises(ConfigError, match=r"no recipe nosuch.*\(dasd\)"):
        recipes.load("nosuch")
    with pytest.raises(ConfigError, match="is a folder"):
        recipes.load(str(tmp_path))


def test_local_copies_and_sources_left_out_are_named_by_the_recipe(recipe):
    """A typo in a flag would read from the Hub what lies on this machine."""
    found = recipe(SOURCE + "[sources.acereason]\n")
    local = found.with_paths({"acereason": "copy"}).without(["mine"])
    assert [(s.name, s.paths, s.title) for s in local.sources] == [
        ("acereason", ("copy",), "nvidia/AceReason-1.1-SFT")
    ]
    with pytest.raises(UnknownNameError, match="did you mean 'acereason'"):
        found.with_paths({"acereasn": "copy"})
    with pytest.raises(UnknownNameError, match="did you mean 'mine'"):
        found.without(["mime"])
    with pytest.raises(ConfigError, match="no source is left"):
        found.without(["mine", "acereason"])
