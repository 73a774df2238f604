"""What a notebook shows and completes of a catalog, a view and a build."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import duckdb
import pytest

from dasd_data import index
from dasd_data.build import build
from dasd_data.errors import DataError, UnknownNameError, UsageError
from dasd_data.parameters import quote

HOSTILE = "<script>alert('x')</script>&\"q"


@pytest.fixture
def catalog(made, response):
    """Two candidates of one question: `b` has the Teacher sentence."""
    dull = {"teacher": [(6, 0.5)], "student": [(6, 0.5)]}
    rich = {"teacher": [(6, 0.9)], "student": [(6, 0.5)]}
    return made(response("a", scores=dull), response("b", scores=rich))


class _Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.open, self.seen = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_catalogs_views_and_builds_show_what_they_are(catalog):
    """A researcher would see an object's address where its rows and parameters should be."""
    file = catalog.find_view("low_t_das")
    shown = catalog._repr_html_()
    assert "snapshot 2" in shown
    assert ">responses<" in shown
    assert "low_t_das (split)" in shown
    assert "teacher_count" in file._repr_html_()
    assert "SELECT" in file._repr_html_()
    done = build(catalog, "low_t_das", robustness="off")
    assert done.build_id in done._repr_html_()
    assert "1 rows" in done._repr_html_()
    for html in (shown, file._repr_html_(), done._repr_html_()):
        assert not _Tags(html).open


def test_names_of_others_cannot_run_in_a_notebook(catalog):
    """A view file that a colleague sent would run a script in the researcher's session."""
    views = catalog.path / "views"
    path = views / "odd.sql"
    path.write_text(
        f"/* description = {json.dumps(HOSTILE)} */ SELECT {quote(HOSTILE)} AS x FROM responses"
    )
    file = catalog.find_view("odd")
    for html in (catalog._repr_html_(), file._repr_html_()):
        assert "script" not in _Tags(html).seen
        assert "&lt;script&gt;" in html


def test_names_complete_and_give_relations(catalog):
    """cat["res<TAB> would complete nothing, or a name that does not work."""
    names = catalog._ipython_key_completions_()
    assert {"responses", "snapshots", "sentence_pairs", "funnel", "low_t_das"} <= set(names)
    for name in names:
        assert catalog[name].columns
    assert sorted(catalog["responses"].project("response_id").fetchall()) == [("a",), ("b",)]
    assert catalog["low_t_das"].project("response_id").fetchall() == [("b",)]
    with pytest.raises(UnknownNameError, match="responses"):
        catalog["respones"]


def test_a_split_is_what_a_build_chooses(catalog):
    """Overlaps in a notebook would be those of other rows than the ones that are trained on."""
    rows = catalog.split("low_t_das").fetchall()
    assert [row[0] for row in rows] == ["b"]
    assert len(rows) == build(catalog, "low_t_das", dry_run=True).rows
    assert len(catalog.split("low_t_das", keep=2).fetchall()) == 2
    (catalog.path / "views" / "mine.sql").write_text("SELECT response_id FROM responses")
    assert len(catalog.split("mine").fetchall()) == 2


def test_a_connection_is_plain_pinned_and_locked(catalog, add, response, tmp_path):
    """A notebook's own queries would see half of a commit, or write files by mistake."""
    connection = catalog.connect(beta=0.45)
    add(catalog, response("c", question="r"))
    count = "SELECT count(*) FROM responses"
    assert connection.execute(count).fetchone() == (2,)
    assert catalog.refresh().connect().execute(count).fetchone() == (3,)
    labels = "SELECT label FROM sentence_pairs ORDER BY response_id"
    assert connection.execute(labels).fetchall() == [("shared",), ("shared",)]
    connection.execute("SET VARIABLE beta = 0.1")
    assert connection.execute(labels).fetchall() == [("shared",), ("teacher",)]
    connection.execute("CREATE TEMP TABLE own AS FROM responses")
    with pytest.raises(duckdb.Error, match="disabled"):
        connection.execute(f"COPY responses TO '{tmp_path / 'out.csv'}'")
    assert not (tmp_path / "out.csv").exists()


def test_the_index_is_the_same_catalog_for_the_duckdb_shell(catalog, tmp_path):
    """The shell and its UI would show other labels than the library."""
    out = index.write(catalog, tmp_path / "catalog.duckdb")
    with duckdb.connect(str(out), read_only=True) as shell:
        query = "SELECT response_id, label FROM sentence_pairs ORDER BY ALL"
        assert shell.execute(query).fetchall() == catalog.sql(query).fetchall()
        assert shell.execute("SELECT response_id FROM split").fetchall()
        about = "SELECT comment FROM duckdb_columns() WHERE table_name = 'responses' AND column_name = 'answer'"
        assert shell.execute(about).fetchone() == (
            next(c for n, _, c in catalog.describe("responses") if n == "answer"),
        )
        shell.execute("SET VARIABLE beta = 0.45")
        assert shell.execute(query).fetchall() == [("a", "shared"), ("b", "shared")]
    assert [path.name for path in tmp_path.glob("*.duckdb*")] == ["catalog.duckdb"]
    index.write(catalog, out, {"beta": 0.45})  # in place of the older one
    with duckdb.connect(str(out), read_only=True) as shell:
        assert shell.execute(query).fetchall() == [("a", "shared"), ("b", "shared")]


def test_the_index_replaces_nothing_else(catalog, tmp_path):
    """`--out` with a wrong path would destroy a researcher's own database."""
    own = tmp_path / "own.duckdb"
    with duckdb.connect(str(own)) as mine:
        mine.execute("CREATE TABLE kept AS SELECT 1 AS x")
    text = tmp_path / "notes.md"
    text.write_text("notes")
    for path in (own, text):
        before = path.read_bytes()
        with pytest.raises(UsageError, match="choose another"):
            index.write(catalog, path)
        assert path.read_bytes() == before
    with pytest.raises(DataError):
        index.write(catalog, tmp_path / "no" / "catalog.duckdb")


def test_index_is_a_command(catalog, command):
    """The default place would not be the catalog."""
    done = command("index", "--catalog", catalog.path, "--set", "beta=0.45")
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(catalog.path / "catalog.duckdb"), read_only=True) as shell:
        assert shell.execute("SELECT count(*) FROM responses").fetchone() == (2,)
    assert "catalog.duckdb" not in command("verify", "--catalog", catalog.path).stdout
