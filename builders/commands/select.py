"""`dasd-data select`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from builders.commands.ingest import pairs, report
from dasd_data.cli import complete
from dasd_data.cli.common import (
    Progress,
    count,
    json_option,
    note,
    print_funnel,
    print_json,
    print_sentences,
    settings_option,
    threads_option,
)
from dasd_data.parameters import DOMAINS

RANKS = (
    "teacher_count",
    "teacher_count_resid",
    "teacher_share",
    "mean_difference",
    "length",
    "student_probability",
    "random",
)


@click.command("select")
@click.argument(
    "paths", nargs=-1, required=True, metavar="FILE|DIR…", shell_complete=complete.files
)
@click.option("--student", required=True, metavar="MODEL", help="Model that will be trained.")
@click.option("--teacher", metavar="MODEL", help="Model to score with where log-probs are missing.")
@click.option("--keep", default=1, show_default=True, help="Candidates kept per question.")
@click.option(
    "--rank-by",
    type=click.Choice(RANKS),
    default="teacher_count",
    show_default=True,
    help="Score that ranks candidates, highest first.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSONL file to write.",
)
@click.option("--catalog", metavar="PATH", help="Catalog to leave behind; else OUT.catalog.")
@click.option("--map", "mapping", multiple=True, metavar="FIELD=COLUMN", help="Repeatable.")
@click.option("--tokenizer", metavar="PATH_OR_ID", help="Tokenizer of token ids in the files.")
@click.option("--domain", type=click.Choice(DOMAINS), help="Domain of rows that name none.")
@click.option("--system", help="System prompt of every row, in scoring and in the output.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@settings_option
@threads_option
@json_option
def command(paths: tuple[str, ...], out: Path, as_json: bool, **options: Any) -> None:
    """Keep the best candidates of each question: one prompt, several completions in.

    Takes every shape that `ingest` takes, scores candidates with the student (and with --teacher
    where the files hold no log-probs), keeps those with the most Teacher sentences, and writes
    rows that TRL and LLaMA-Factory read. Leaves a catalog behind that explains the choice.
    """
    from builders.select import select

    catalog, context, scorers, settings = _prepare(out, options)
    bars: list[Progress] = []

    def progress(label: str) -> Any:
        while bars:
            bars.pop().__exit__(None, None, None)
        bars.append(Progress(label).__enter__())
        return bars[-1].update

    try:
        done = select(
            catalog, paths, context, scorers, settings, out, progress, mix=bool(options["catalog"])
        )
    finally:
        for bar in bars:
            bar.__exit__(None, None, None)
    if as_json:
        print_json(
            {
                "rows": done.rows,
                "out": out,
                "catalog": catalog.path,
                "build": done.build.path,
                "funnel": done.build.funnel,
            }
        )
        return
    report(done.ingested)
    print_funnel(done.build.funnel)
    print_sentences(examples(catalog, done.build.manifest["parameters"]))
    note(f"{count(done.rows, 'row')} in {out}; card and manifest in {done.build.path}")
    note(f"the catalog stays at {catalog.path}; why these:")
    note(
        f'  dasd-data sql --catalog {catalog.path} "SELECT question_id, response_id, '
        "teacher_count, n_sentences, round(mean_difference, 3) AS difference FROM candidates "
        f'ORDER BY question_id, teacher_count DESC" {_scorers_of(done.build.manifest)}'
    )


def examples(catalog: Any, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """A sentence of each label among the chosen responses, the most divergent ones."""
    from dasd_data import sqlfiles

    view = catalog.find_view("select")
    session = catalog.session(view, parameters)
    session.execute("CREATE TEMP TABLE _chosen AS SELECT response_id FROM selection")
    rows: list[dict[str, Any]] = session.rows(sqlfiles.report("explain"))
    session.close()
    return rows


def _scorers_of(manifest: Mapping[str, Any]) -> str:
    """The scorers of a build as settings: others may go by the same names."""
    return " ".join(f"--set {n}={s['scorer_id'][:12]}" for n, s in manifest["scorers"].items())


def _prepare(out: Path, options: dict[str, Any]) -> Any:
    """The catalog, the ingest context, the scorers and the view's settings."""
    from builders.score.prepare import Options
    from builders.shapes import Context
    from dasd_data import catalog as catalogs

    path = Path(options["catalog"] or out.with_suffix(".catalog"))
    catalog = catalogs.create(path, settings=False)
    context = Context(
        file="",
        mapping=pairs(options["mapping"]),
        tokenizer=options["tokenizer"],
        domain=options["domain"],
    )
    scorers = {
        name: Options(
            model=options[name], name=name, system=options["system"], device=options["device"]
        )
        if options[name]
        else None
        for name in ("student", "teacher")
    }
    settings = {"keep": options["keep"], "rank_by": options["rank_by"], **options["settings"]}
    if options["system"] is not None:
        from dataclasses import replace

        from dasd_data.config import BuildConfig

        catalog.config = replace(catalog.config, build=BuildConfig(options["system"]))
    return catalog, context, scorers, settings
