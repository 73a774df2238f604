"""The words that decide what a full stop means. A change here needs a new SEGMENTER version."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# How an abbreviation's full stop is read.
NEVER = 1  # what it introduces always follows: Dr., e.g., vs.
NUMBERED = 2  # an abbreviation only where a number or a formula follows: Eq. (5), No. 7
EITHER = 3  # may also end a sentence: etc., Inc.; nltk decides
LABEL = 4  # not an abbreviation: "Step 2." opens a sentence rather than being one

_NEVER = (
    "mr mrs ms mx dr prof gen col capt lt sgt maj cmdr adm gov sen rep rev fr hon pres supt "
    "messrs mme mlle st mt vs cf viz e.g i.e eg ie s.t w.r.t w.l.o.g a.k.a i.q n.b esp "
    "incl excl approx resp ca c.f aka wrt"
)
_NUMBERED = (
    "no nos nr n° fig figs eq eqs eqn eqns sec secs ch chap chs vol vols p pp pg art arts thm "
    "thms lem prop props cor def defs ex exs ref refs tab"
)
_EITHER = (
    "etc inc ltd co corp llc bros jr sr ph.d m.d b.a m.a b.sc m.sc u.s u.k e.u u.n a.m p.m b.c "
    "a.d c.e b.c.e q.e.d i.i.d l.h.s r.h.s al dept univ assn assoc est jan feb apr aug "
    "sept oct nov dec mon tue tues wed thu thur thurs fri ave blvd rd hwy sq cu lb lbs oz yd ft "
    "gal hr hrs avg intl natl eds misc mfg rearr"
)
_LABEL = (
    "step case part claim lemma theorem example exercise problem question option phase stage "
    "method approach solution section chapter rule point item task test note remark fact figure "
    "subcase prop def"
)

# Words that open sentences although they are also written in lower case: after an abbreviation or
# an initial a capital on one of these is the capital of a new sentence.
_STARTERS = (
    "a about above according actually add adding after again all almost already also alternative "
    "alternatively although always am among an and another answer any anyway apply are as assume "
    "assuming at base based basically be because before being between bit both bring but by "
    "calculate can cancel case check choose clearly combine combining compare compute computing "
    "condition consider considering construct continue convert could count define denote "
    "depending derive determine did different distinct divide dividing do does double each "
    "earlier edge either else equality equation equivalent equivalently essentially establish "
    "even eventually every everything exactly example expand express extend factor final finally "
    "find finding fine first for four from further furthermore general generally get give given "
    "gives good great had has have having he hence her here his how however i idea if in indeed "
    "initially inside instead interesting interpret is it its just keep know last later let like "
    "likely likewise line list look looks many maybe me meanwhile might minimal more moreover "
    "most multiply my need nevertheless next nice no none nonetheless not note nothing notice now "
    "observe of obviously often ok okay on once one only or original other others otherwise our "
    "out outside over overall perhaps plug plus point possible possibly presumably prime probably "
    "proceed product proof prove provided put question rather really rearrange recall remaining "
    "remember repeat replace rewrite right round same second see select set several she should "
    "show similarly simple simplify simply since so solve solving some someone something start "
    "starting still sub substitute substituting subtract such sum suppose sure take taking test "
    "than that the their them then there therefore these they think this those though three thus "
    "to together total triangle try trying two under unless until up use using usually verify "
    "very wait we well were what when where whereas whether which while who whose why will with "
    "within without work would write yes yet you your complexity denominator hard height "
    "inverse largest max maximum means min minimum number numbers numerator perimeter quick "
    "ratio ratios roughly smallest typically verified"
)

STARTERS = frozenset(_STARTERS.split())
ABBREVIATIONS = frozenset(f"{_NEVER} {_NUMBERED} {_EITHER}".split())


def _pack(word: str) -> int:
    return int.from_bytes(word.encode(), "little")


class Lexicon(NamedTuple):
    """Words of 8 bytes or fewer, packed (uint64[n], ascending), and their readings (uint8[n])."""

    keys: np.ndarray
    readings: np.ndarray


def _build_lexicon() -> Lexicon:
    readings: dict[int, int] = {}
    groups = ((_LABEL, LABEL), (_EITHER, EITHER), (_NUMBERED, NUMBERED), (_NEVER, NEVER))
    for words, reading in groups:
        readings |= {_pack(w): reading for w in words.split() if len(w.encode()) <= 8}
    keys = sorted(readings)
    return Lexicon(np.array(keys, np.uint64), np.array([readings[k] for k in keys], np.uint8))


LEXICON = _build_lexicon()
