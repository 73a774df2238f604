"""`dasd-data ingest`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from dasd_data.cli import complete
from dasd_data.cli.common import (
    Progress,
    catalog_option,
    count,
    json_option,
    note,
    print_json,
    threads_option,
)
from dasd_data.errors import DataError
from dasd_data.parameters import DOMAINS

KINDS = ("questions", "responses", "logprobs")


@click.command("ingest")
@click.argument(
    "paths", nargs=-1, required=True, metavar="FILE|DIR…", shell_complete=complete.files
)
@click.option("--as", "as_kind", type=click.Choice(KINDS), help="What the rows are, if in doubt.")
@click.option("--map", "mapping", multiple=True, metavar="FIELD=COLUMN", help="Repeatable.")
@click.option("--tokenizer", metavar="PATH_OR_ID", help="Tokenizer of token ids in the files.")
@click.option("--domain", type=click.Choice(DOMAINS), help="Domain of rows that name none.")
@click.option(
    "--name", default="teacher", show_default=True, help="Name of the scorer of log-probs."
)
@click.option("--model", help="Model of responses that name none.")
@click.option(
    "--policy",
    type=click.Choice(["teacher", "student"]),
    default="teacher",
    show_default=True,
    help="Who sampled the responses; splits take the teacher's.",
)
@click.option("--temperature", type=float, help="Temperature of responses that name none.")
@click.option("--strict", is_flag=True, help="Stop at the first row that cannot be taken.")
@threads_option
@catalog_option
@json_option
def command(
    paths: tuple[str, ...],
    mapping: tuple[str, ...],
    strict: bool,
    catalog: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Add questions, responses and log-probs from files; what is there already is not added again.

    JSONL, JSON, Parquet, CSV and Arrow, also .gz and .zst, folders, globs and saved data sets; the
    shape of the rows is found by itself. Rows that cannot be taken go to `quarantine`.
    """
    import dasd_data
    from builders import read, shapes
    from builders.ingest.stage import ingest

    context = shapes.Context(file="", mapping=pairs(mapping), **given)
    found = dasd_data.open(catalog)
    total = read.stored_bytes(read.expand(paths))
    with Progress("ingest", total, "bytes") as progress:
        counts = ingest(found, paths, context, strict=strict, progress=progress.advance)
    if as_json:
        print_json(dict(counts))
    else:
        report(counts)
    if 0 < counts["rows"] <= counts["refused"]:
        raise DataError("no row could be taken: see the reasons, and `dasd-data ingest --help`")


def report(counts: Counter[str]) -> None:
    """The counts of an ingest, for a person."""
    note(
        f"{count(counts['rows'], 'row')} read: {count(counts['responses'], 'new response')}, "
        f"{count(counts['questions'], 'new question')}, "
        f"{counts['tokens']:,} with tokens, {counts['sentence_scores']:,} with sentence scores"
    )
    same = {n: counts[f"same {n}"] for n in ("responses", "questions", "tokens")}
    if any(same.values()):
        note("there already: " + ", ".join(f"{v:,} {n}" for n, v in same.items() if v))
    if counts["repeated responses"]:
        note(f"{count(counts['repeated responses'], 'response')} repeated within the files")
    if counts["no model"]:
        note(
            f"{count(counts['no model'], 'response')} of no known model, taken for the teacher's: "
            "pass --model, and --policy student if they are the student's"
        )
    if counts["no temperature"]:
        note(
            f"{count(counts['no temperature'], 'response')} of no known temperature, which no view "
            "low_t_… or high_t_… takes: pass --temperature"
        )
    prefix = "set otherwise: "
    if differs := [name.removeprefix(prefix) for name in counts if name.startswith(prefix)]:
        note(
            f"these files were ingested before with other settings ({'; '.join(differs)}): rows "
            "with a key of their own are refused as other content, others are new responses"
        )
    if counts["unaligned"]:
        note(
            f"{counts['unaligned']:,} could not be aligned: dasd-data sql "
            '"SELECT reason, count(*) FROM attempts GROUP BY ALL"'
        )
    if counts["unknown files"]:
        note(f"{count(counts['unknown files'], 'file')} of no known shape, not read")
    if counts["refused"]:
        note(
            f"{count(counts['refused'], 'row')} refused: dasd-data sql "
            '"SELECT file, line, reason FROM quarantine ORDER BY file, line"'
        )


def pairs(values: tuple[str, ...]) -> dict[str, str]:
    """`--map` values by field."""
    found = {}
    for value in values:
        field, equals, column = value.partition("=")
        if not equals:
            raise click.BadParameter(f"--map {value!r} is not FIELD=COLUMN")
        found[field.strip()] = column.strip()
    return found
