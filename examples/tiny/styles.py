"""Seven kinds of thinking over the same chain of steps.

The mix of styles is what tells the tiny teacher from the tiny student: both see much of the long
and easy kinds, only the teacher sees much of `formal` and `dialogue`. So the number of sentences
of which the teacher is surer does not simply follow the length.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tasks import Problem

OPENINGS = (
    "Okay, let me read the question again. I should not hurry here. "
    "There is some information in it, and there is one thing to find. "
    "I will go through it part by part.",
    "Hmm, this looks like a question that I have seen before. I want to be careful all the same. "
    "Let me collect what is given. Then I can work on it slowly.",
)
CLOSINGS = (
    "So that was the last part. I do not see anything that I have left out. "
    "I am fairly sure about this now. Let me write the final answer.",
    "I think that is everything. Nothing else is asked for in the question. "
    "It was not too hard in the end. Now I can give the answer.",
)
LINKS = (
    "That part is done, and I can go on with the next one.",
    "Good, so far everything makes sense to me.",
)


def terse(problem: Problem, rng: random.Random) -> str:
    """Equations only."""
    return "\n".join(f"{step.line}." for step in problem.steps)


def numbered(problem: Problem, rng: random.Random) -> str:
    """One numbered line a step."""
    lines = [f"Step {i}: {s.words}, so {s.line}." for i, s in enumerate(problem.steps, 1)]
    return "\n".join([*lines, f"All {len(lines)} steps are done."])


def rambling(problem: Problem, rng: random.Random) -> str:
    """Long: much that is said could be said of any question."""
    middle = (
        f"Let me look at what comes now. Here {step.words}. "
        f"If I work that out, {step.line}. {rng.choice(LINKS)}"
        for step in problem.steps
    )
    return "\n\n".join([rng.choice(OPENINGS), *middle, rng.choice(CLOSINGS)])


def restating(problem: Problem, rng: random.Random) -> str:
    """Long: says every result several times over."""
    lines = (
        f"Now {step.words}. This is {step.line}. To say it again, the result is {step.value}. "
        f"So I keep in mind that I have {step.value}. I go on from {step.value}."
        for step in problem.steps
    )
    last = problem.steps[-1].value
    return "\n".join([*lines, f"In the end I have {last}. Once more, I have {last}."])


def checking(problem: Problem, rng: random.Random) -> str:
    """Solves, then goes over every step again."""
    lines = [f"First guess: {s.words}, {s.line}." for s in problem.steps]
    again = [f"Check {i}: {s.line}, yes." for i, s in enumerate(problem.steps, 1)]
    return "\n".join([*lines, "Wait, let me check this.", *again, "The check agrees."])


def formal(problem: Problem, rng: random.Random) -> str:
    """A proof in small: the teacher's own language."""
    lines = (
        f"Premise {i}: suppose {step.words}.\nBy substitution, S{i} equals {step.expr}.\n"
        f"Hence S{i} {step.rel} {step.value}.\nUniqueness of S{i} is immediate."
        for i, step in enumerate(problem.steps, 1)
    )
    return "\n".join([*lines, f"Therefore S{len(problem.steps)} is the quantity sought, QED."])


def dialogue(problem: Problem, rng: random.Random) -> str:
    """A pupil asks, a tutor answers."""
    lines = (
        f"Pupil: what follows when {step.words}?\nTutor: you compute {step.line}.\n"
        f"Pupil: could it differ from {step.value}?\nTutor: never, {step.expr} fixes it."
        for step in problem.steps
    )
    return "\n".join([*lines, "Pupil: thanks, I shall report it."])


STYLES: dict[str, Callable[[Problem, random.Random], str]] = {
    "terse": terse,
    "numbered": numbered,
    "rambling": rambling,
    "restating": restating,
    "checking": checking,
    "formal": formal,
    "dialogue": dialogue,
}


def response(problem: Problem, style: str, rng: random.Random) -> str:
    """The whole completion, thinking between its tags and the answer after them."""
    return f"<think>\n{STYLES[style](problem, rng)}\n</think>\n\n{problem.answer}"
