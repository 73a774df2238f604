import marimo

__generated_with = "0.25.2"
app = marimo.App()


@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # Ten questions to a catalog

    Every sampled response, the probability of each of its sentences under teacher and student, and
    every filter's verdict are rows. This notebook asks them what a researcher asks before a training
    run. It reads the demo's catalog (`make demo`), or the one that `DASD_CATALOG` names.
    """)
    return


@app.cell
def _():
    import os
    from pathlib import Path

    import altair as alt
    import polars as pl

    import dasd_data
    from dasd_data.build import build

    places = [os.environ.get("DASD_CATALOG", ""), "demo/dasd.catalog", "../demo/dasd.catalog"]
    cat = dasd_data.open(next(place for place in places if place and Path(place).exists()))
    cat
    return alt, build, cat, pl


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    The catalog is pinned at a snapshot: other processes may write, and nothing below changes until
    `cat.refresh()`. `cat["…"]` completes the names of tables and views. What a view is for, and which
    parameters it takes, it says itself:
    """)
    return


@app.cell
def _(cat):
    cat.find_view("low_t_das")
    return


@app.cell
def _(cat):
    cat.sql("DESCRIBE responses_scored").pl()
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 1. What is there?

    Responses by domain and temperature: sampled, passed by all required filters, scored by both models.
    """)
    return


@app.cell
def _(alt, cat):
    stock = cat.sql("""
        SELECT domain, temperature,
               count(*) AS sampled,
               count(*) FILTER (WHERE eligible) AS eligible,
               count(*) FILTER (WHERE eligible AND scored) AS scored
        FROM candidates
        GROUP BY ALL ORDER BY ALL
    """).pl()
    alt.Chart(stock).transform_fold(
        ["sampled", "eligible", "scored"], as_=["state", "responses"]
    ).mark_bar().encode(
        x=alt.X("state:N", sort=None, title=None),
        y="responses:Q",
        color=alt.Color("state:N", sort=None, legend=None),
        column="domain:N",
        row="temperature:O",
    ).properties(width=110, height=110)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 2. What do the filters take, and where?

    The share that each filter refuses. Evidence of each refusal is in `flags.evidence`.
    """)
    return


@app.cell
def _(alt, cat):
    refused = cat.sql("""
        SELECT filter, domain, round(avg((NOT passed)::INT), 4) AS refused, count(*) AS responses
        FROM flags INNER JOIN responses USING (response_id) INNER JOIN question_domains USING (question_id)
        WHERE passed IS NOT NULL
        GROUP BY ALL ORDER BY ALL
    """).pl()
    alt.Chart(refused).mark_rect().encode(
        x=alt.X("domain:N", title=None),
        y=alt.Y("filter:N", title=None),
        color=alt.Color("refused:Q", title="refused", scale=alt.Scale(scheme="oranges")),
        tooltip=["filter", "domain", "refused", "responses"],
    ).properties(width=260)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 3. Which sentences of a domain does the student know least?

    Those with the largest difference of probability: what a Teacher sentence looks like. Text is cut
    from the response by bytes, for the rows that are shown only.
    """)
    return


@app.cell
def _(cat):
    divergent = cat.sql("""
        SELECT round(difference, 3) AS difference, round(p_teacher, 3) AS p_T, round(p_student, 3) AS p_S,
               n_teacher AS tokens, kind,
               trim(sentence_text(thinking, answer, byte_start, byte_end)) AS sentence
        FROM (
            SELECT * FROM sentence_pairs
            INNER JOIN responses USING (response_id)
            INNER JOIN question_domains USING (question_id)
            WHERE domain = 'math' AND n_teacher >= 8 AND n_student >= 8
            ORDER BY difference DESC, response_id, sentence_index LIMIT 10
        )
        ORDER BY difference DESC, sentence
    """).pl()
    divergent
    return (divergent,)


@app.cell
def _(alt, divergent):
    alt.Chart(divergent).transform_fold(["p_T", "p_S"], as_=["model", "p"]).mark_circle(size=90).encode(
        x=alt.X("p:Q", scale=alt.Scale(domain=[0, 1]), title="probability of the sentence"),
        y=alt.Y("sentence:N", sort=None, title=None, axis=alt.Axis(labelLimit=340)),
        color=alt.Color("model:N", title=None),
    )
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 4. What does temperature do to the probability of a sentence?

    The teacher's own sentences, by the temperature they were sampled at, and the same under the student.
    """)
    return


@app.cell
def _(alt, cat):
    spread = cat.sql("""
        SELECT temperature, model, floor(p * 20) / 20 AS p, count(*) AS sentences
        FROM (
            SELECT temperature, unnest([
                {'model': 'teacher', 'p': p_teacher}, {'model': 'student', 'p': p_student}
            ], recursive := true)
            FROM sentence_pairs WHERE label_code IS NOT NULL
        )
        GROUP BY ALL ORDER BY ALL
    """).pl()
    alt.Chart(spread).transform_joinaggregate(
        total="sum(sentences)", groupby=["temperature", "model"]
    ).transform_calculate(share="datum.sentences / datum.total").mark_line(
        interpolate="step-after"
    ).encode(
        x=alt.X("p:Q", title="probability of the sentence"),
        y=alt.Y(
            "share:Q",
            title="share of sentences",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(format="%"),
        ),
        color="temperature:N",
        column=alt.Column("model:N", sort=["teacher", "student"], title=None),
    ).properties(width=260, height=180)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 5. Where in a response are the Teacher sentences?

    Shares of the labels by decile of a response's length.
    """)
    return


@app.cell
def _(alt, cat):
    positions = cat.sql("""
        SELECT least(floor(10 * byte_start / length), 9)::INT * 10 AS percent, label, count(*) AS sentences
        FROM sentence_pairs
        INNER JOIN (SELECT response_id, max(byte_end) AS length FROM sentence_pairs GROUP BY 1) USING (response_id)
        WHERE label IS NOT NULL AND length > 0
        GROUP BY ALL ORDER BY ALL
    """).pl()
    alt.Chart(positions).mark_bar().encode(
        x=alt.X("percent:O", title="position in the response (%)"),
        y=alt.Y("sentences:Q", stack="normalize", title="share", axis=alt.Axis(format="%")),
        color=alt.Color("label:N", sort=["teacher", "shared", "student"]),
    ).properties(width=420, height=180)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 6. In what kind of sentence?

    Prose, mathematics, code and tables, in the thinking and in the answer.
    """)
    return


@app.cell
def _(alt, cat):
    kinds = cat.sql("""
        SELECT section, kind, count(*) AS sentences, round(avg((label = 'teacher')::INT), 3) AS teacher_share,
               round(avg(difference), 4) AS mean_difference
        FROM sentence_pairs WHERE label IS NOT NULL
        GROUP BY ALL ORDER BY ALL
    """).pl()
    alt.Chart(kinds).mark_bar().encode(
        x=alt.X("teacher_share:Q", title="share of Teacher sentences", axis=alt.Axis(format="%")),
        y=alt.Y("kind:N", title=None),
        row=alt.Row("section:N", title=None),
        tooltip=["sentences", "mean_difference"],
    ).properties(width=420)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 7. How much does divergence-aware sampling choose otherwise than chance?

    `low_t_das` and `low_t_rs` take the same questions; this is the share of them whose kept response
    is the same. Near 1, the selection does little.
    """)
    return


@app.cell
def _(alt, cat, pl):
    das = cat.split("low_t_das").pl()
    rs = cat.split("low_t_rs").pl()
    same = (
        das.select("domain", same=pl.col("response_id").is_in(rs["response_id"].to_list()))
        .group_by("domain")
        .agg(pl.col("same").mean())
        .sort("domain")
    )
    alt.Chart(same).mark_bar().encode(
        x=alt.X(
            "same:Q", title="kept by both", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
        ),
        y=alt.Y("domain:N", title=None),
    ).properties(width=420)
    return (das,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 8. Is it just length?

    A count of sentences grows with length. Length of what was kept against the mean of its question's
    candidates, for the paper's ranking and for one without length.
    """)
    return


@app.cell
def _(alt, cat, pl):
    pool = cat.sql("""
        SELECT question_id, avg(n_bytes) AS mean_bytes FROM candidates
        WHERE temperature = 0.6 AND eligible AND scored GROUP BY 1
    """).pl()
    lengths = cat.sql("SELECT response_id, n_bytes FROM candidates").pl()
    ratios = pl.concat(
        cat.split("low_t_das", rank_by=rank_by)
        .pl()
        .select("response_id", "question_id", "domain")
        .join(lengths, on="response_id")
        .join(pool, on="question_id")
        .group_by("domain")
        .agg(ratio=pl.col("n_bytes").sum() / pl.col("mean_bytes").sum())
        .with_columns(rank_by=pl.lit(rank_by))
        for rank_by in ["random", "teacher_count", "teacher_count_resid", "teacher_share", "length"]
    )
    alt.Chart(ratios).mark_point(filled=True, size=70).encode(
        x=alt.X("ratio:Q", title="length kept / length of the candidates", scale=alt.Scale(zero=False)),
        y=alt.Y("rank_by:N", sort=None, title=None),
        color="domain:N",
    ).properties(width=420, height=140)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 9. How much hangs on beta?

    The threshold of the paper is 0.1. The share of kept responses that another one keeps too.
    """)
    return


@app.cell
def _(alt, cat, das, pl):
    kept = set(das["response_id"])
    moved = pl.DataFrame(
        [
            {
                "beta": beta,
                "same": len(kept & set(cat.split("low_t_das", beta=beta).pl()["response_id"]))
                / max(len(kept), 1),
            }
            for beta in [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5]
        ]
    )
    alt.Chart(moved).mark_line(point=True).encode(
        x="beta:Q",
        y=alt.Y(
            "same:Q",
            title="kept as with 0.1",
            axis=alt.Axis(format="%"),
            scale=alt.Scale(domain=[0, 1]),
        ),
    ).properties(width=420, height=160)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## 10. What does a kept token cost?

    Tokens that the teacher generated for each one that is trained on: refused and not chosen
    responses are paid for, too. A request that failed left no response, and is not in it.
    """)
    return


@app.cell
def _(alt, cat, das):
    chosen = das.select("response_id")
    connection = cat.connect()
    connection.register("chosen", chosen.to_arrow())
    cost = connection.sql("""
        SELECT domain,
               sum(len(t.token_bytes))::BIGINT AS generated,
               sum(len(t.token_bytes)) FILTER (r.response_id IN (SELECT response_id FROM chosen))::BIGINT AS kept,
               round(generated / kept, 1) AS generated_per_kept
        FROM responses AS r
        INNER JOIN question_domains USING (question_id)
        INNER JOIN tokens AS t USING (response_id)
        WHERE r.temperature = 0.6 AND t.scorer_id = getvariable('teacher')
        GROUP BY domain ORDER BY domain
    """).pl()
    alt.Chart(cost).mark_bar().encode(
        x=alt.X("generated_per_kept:Q", title="tokens generated per token kept"),
        y=alt.Y("domain:N", title=None),
        tooltip=["generated", "kept"],
    ).properties(width=420)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Build it

    A build of the same view at the same snapshot is the same bytes on any machine. Its card says how
    the choice would move under other thresholds, tokenizers, sentences and students.
    """)
    return


@app.cell
def _(build, cat):
    build(cat, "low_t_das", dry_run=True)
    return


if __name__ == "__main__":
    app.run()
