"""`docs`: every table, column, view and parameter has a page, and names do no harm."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner

from dasd_data import sqlfiles
from dasd_data.cli import cli
from dasd_data.docs.lineage import lineage
from dasd_data.errors import UsageError
from dasd_data.schema import TABLES

_VOID = {"meta", "link", "path", "rect"}
_KNOWN = {"html", "head", "title", "body", "nav", "h1", "h2", "p", "small", "a", "table", "tr", "th",
          "td", "div", "code", "pre", "svg", "text", *_VOID}  # fmt: skip


class Page(HTMLParser):
    """The links of a page; a tag that is not closed, or not one of ours, is an error."""

    def __init__(self, text):
        super().__init__()
        self.links, self._open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag, attrs):
        """A tag that opens."""
        assert tag in _KNOWN, tag
        assert not [name for name, _ in attrs if name.startswith("on")]
        self.links += [value for name, value in attrs if name == "href"]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """A tag that closes itself."""
        assert tag in _KNOWN, tag

    def handle_endtag(self, tag):
        """A tag that closes: the last that opened."""
        assert self._open.pop() == tag

    def handle_data(self, data):
        """Text."""
        self.text.append(data)


@pytest.fixture
def catalog(made, response):
    """A catalog with two views of its own: one with hostile names, one that does not run."""
    catalog = made(response("a", scores={"teacher": [(6, 0.9)], "student": [(6, 0.5)]}))
    views = catalog.path / "views"
    (views / "mine.sql").write_text(
        '/*\ndescription = "<script>alert(1)</script>"\n[parameters]\n'
        'limit_to = { type = "text", default = "\'\\"><b>", help = "<i>" }\n'
        "[contract.checks]\nx = \"SELECT 1 WHERE 1 < 2 AND '</pre><script>' = 2\"\n*/\n"
        'SELECT response_id, 1 AS "../../<script>", 2 AS "a&b" FROM pool'
        " WHERE getvariable('limit_to') <> '</pre>'"
    )
    (views / "broken.sql").write_text("SELECT response_id FROM responses WHERE nothing = '<b>'")
    return catalog


def test_pages_are_whole_linked_and_without_scripts(catalog, tmp_path):
    """A link would lead nowhere, or a view's name run in the browser of whoever reads of it."""
    out = tmp_path / "pages"
    done = CliRunner().invoke(cli, ["docs", "--out", str(out), "--catalog", str(catalog.path)])
    assert done.exit_code == 0, done.output
    pages = {path: Page(path.read_text()) for path in out.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links:
            assert not urlsplit(link).scheme
            assert (path.parent / unquote(link)).resolve().is_file(), (path, link)
    names = {path.relative_to(out).as_posix() for path in pages}
    for name, spec in TABLES.items():
        assert f"tables/{name}.html" in names
        assert {f"columns/{name}.{column.name}.html" for column in spec.columns} <= names
    for view in sqlfiles.base_views():
        assert f"views/{view.name}.html" in names
        assert {f"parameters/{parameter}.html" for parameter in view.parameters} <= names
    assert {"splits/low_t_das.html", "splits/mine.html", "columns/mine.column-2.html",
            "columns/mine.response_id.html", "parameters/limit_to.html"} <= names  # fmt: skip
    assert "It does not run: no column named 'nothing'" in "".join(
        pages[out / "splits" / "broken.html"].text
    )
    assert not [path for path in names if ".." in path]
    # Again in the same place; never over anything else.
    again = CliRunner().invoke(cli, ["docs", "--out", str(out), "--catalog", str(catalog.path)])
    assert again.exit_code == 0
    other = CliRunner().invoke(
        cli, ["docs", "--out", str(tmp_path), "--catalog", str(catalog.path)]
    )
    assert isinstance(other.exception, UsageError)
    assert catalog.path.is_dir()


def test_lineage_is_what_the_sql_reads(catalog):
    """Who changes a column would not know which splits it decides."""
    found = lineage(catalog)
    reads = {name: set(relation.reads) for name, relation in found.relations.items()}
    assert reads["low_t_das"] == {"split"}
    assert (reads["mine"], reads["pool"]) == ({"pool"}, {"candidates"})
    assert reads["question_domains"] == {"questions", "question_sources"}
    assert reads["candidates"] == {
        "responses_scored", "flags", "question_domains", "sentences", "responses"
    }  # fmt: skip
    assert found.readers("selection") == ["split"]
    parameters = {name: set(r.parameters) for name, r in found.relations.items()}
    assert parameters["selection"] == {"budget"}
    assert parameters["mine"] == {"limit_to"}
    assert "required_filters" in parameters["candidates"]
    assert {"normalization", "bytes_per_token", "beta"} <= parameters["sentence_pairs"]


def test_a_column_comes_from_the_columns_that_decide_it(catalog):
    """A wrong source would be looked into when a score is odd."""
    found = lineage(catalog)
    relations = found.relations
    pairs = {f.name: f.reads for f in relations["sentence_pairs"].fields}
    assert "kind" in pairs["kind"]["sentences"]
    assert "kind" not in pairs["p_teacher"]["sentences"]
    assert set(pairs["p_teacher"]["sentence_scores"]) == {
        "response_id", "scorer_id", "segmentation_id", "n_tokens", "logprob_sum"
    }  # fmt: skip
    domains = {f.name: f.reads for f in relations["question_domains"].fields}
    assert domains["domain"]["question_sources"] == ("domain", "question_id", "row", "source")
    assert "reference_answer" in domains["reference_answer"]["question_sources"]
    split = {f.name: f.reads for f in relations["low_t_das"].fields}
    assert "logprob_sum" in split["teacher_share"]["sentence_scores"]
    assert ("low_t_das", "teacher_share") in found.readers_of("flags", "passed")
