-- Formulas of the catalog. Log-probabilities are natural, sums run over the tokens of a sentence.

-- Probability of a sentence: geometric mean of its token probabilities (arXiv 2512.20908).
-- NULL for a sentence without scored tokens, which is then in no count.
CREATE MACRO p(logprob_sum, n_tokens) AS
    CASE WHEN n_tokens > 0 THEN exp(logprob_sum::DOUBLE / n_tokens) END;

-- What a sentence's log-probability is averaged over: its tokens, or, with normalization = 'byte',
-- its bytes in units of `bytes_per_token`, the same number for both models. p is then
-- exp(logprob_sum / n_bytes)^bytes_per_token: bits per byte, which do not depend on the tokenizer
-- (arXiv 2101.00027, section 3.1), on the scale of a token, so that beta keeps its meaning.
CREATE MACRO units(n_tokens, n_bytes) AS
    CASE
        WHEN getvariable('normalization') = 'byte' AND n_tokens > 0
            THEN n_bytes / getvariable('bytes_per_token')
        ELSE n_tokens
    END;

-- Difference of probabilities, not of log-probabilities.
CREATE MACRO difference(p_teacher, p_student) AS p_teacher - p_student;

-- Label of a sentence over two models, as a number: 1 teacher, -1 student, 0 shared. Numbers are
-- counted several times faster than texts.
CREATE MACRO label_code(p_teacher, p_student, beta) AS
    (p_teacher - p_student > beta)::TINYINT - (p_student - p_teacher > beta)::TINYINT;

-- Over three models: shared when all three agree within alpha, then teacher, student, boosted (2).
CREATE MACRO label3_code(p_teacher, p_student, p_distilled, alpha, beta) AS
    CASE
        WHEN p_teacher IS NULL OR p_student IS NULL OR p_distilled IS NULL THEN NULL
        WHEN greatest(
            abs(p_teacher - p_student), abs(p_teacher - p_distilled), abs(p_student - p_distilled)
        ) <= alpha THEN 0
        WHEN p_teacher - p_student > beta THEN 1
        WHEN p_student - p_teacher > beta THEN -1
        ELSE 2
    END::TINYINT;

CREATE MACRO label_name(code) AS
    CASE code WHEN 1 THEN 'teacher' WHEN -1 THEN 'student' WHEN 0 THEN 'shared' WHEN 2 THEN 'boosted' END;

CREATE MACRO label(p_teacher, p_student, beta) AS label_name(label_code(p_teacher, p_student, beta));

CREATE MACRO label3(p_teacher, p_student, p_distilled, alpha, beta) AS
    label_name(label3_code(p_teacher, p_student, p_distilled, alpha, beta));

-- Mean that is the same at any thread count: floats are summed as integers of 1e-9.
CREATE MACRO exact_sum(x) AS sum(round(x::DOUBLE * 1e9)::BIGINT);
CREATE MACRO exact_mean(x) AS exact_sum(x)::DOUBLE / count(x) / 1e9;

-- A reproducible order: random()'s is not.
CREATE MACRO seeded(seed, id) AS md5(concat(seed, ':', id));

-- The text of a sentence: bytes byte_start (inclusive) to byte_end (exclusive) of thinking || answer.
CREATE MACRO sentence_text(thinking, answer, byte_start, byte_end) AS
    decode(encode(concat(thinking, answer))[byte_start + 1 : byte_end]);

-- What a student is trained to write.
CREATE MACRO completion(thinking, answer) AS
    CASE
        WHEN thinking IS NULL THEN answer
        ELSE concat('<think>', chr(10), thinking, chr(10), '</think>', chr(10), chr(10), answer)
    END;
