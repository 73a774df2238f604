"""Seeded questions with worked solutions in four domains, for the tiny teacher and student.

A problem is a chain of steps; `styles.py` turns the chain into thinking of several kinds.

    python -m tasks            # prints one question a domain (run inside examples/tiny)
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

DOMAINS = ("math", "code", "science", "instruction_following")
NAMES = ("Mia", "Omar", "Lena", "Raj", "Ana", "Tom", "Zoe", "Ken", "Ida", "Max", "Eva", "Sam")
ITEMS = ("pens", "cups", "books", "coins", "maps", "keys", "caps", "bags", "cards", "shells")
# fmt: off
WORDS = [
    "apple", "bread", "cloud", "door", "eagle", "field", "grape", "house", "island", "jacket",
    "kite", "lemon", "moon", "nest", "ocean", "paper", "queen", "river", "stone", "table",
]
# fmt: on


@dataclass(frozen=True)
class Step:
    """One link of the chain: what happens (`words`), and `expr` `rel` `value`."""

    words: str
    expr: str
    value: str
    rel: str = "="

    @property
    def line(self) -> str:
        """The step as an equation, such as `12 + 5 = 17`."""
        return f"{self.expr} {self.rel} {self.value}"


@dataclass(frozen=True)
class Problem:
    """A question, the chain that solves it, the final text and the bare reference answer."""

    domain: str
    question: str
    steps: tuple[Step, ...]
    answer: str
    reference: str


def boxed(domain: str, question: str, steps: list[Step], reference: str) -> Problem:
    """A problem whose answer is asked for, and given, in a box."""
    asked = f"{question}\nPut the final answer in \\boxed{{}}."
    return Problem(domain, asked, tuple(steps), f"The answer is \\boxed{{{reference}}}.", reference)


def collection(rng: random.Random) -> Problem:
    """Add, take away and multiply, in words."""
    (name, friend), item = rng.sample(NAMES, 2), rng.choice(ITEMS)
    value = rng.randint(4, 30)
    told, steps = [f"{name} has {value} {item}."], []
    for _ in range(rng.randint(2, 4)):
        n = rng.randint(2, 9)
        kind = rng.choice(["finds", "buys", "gives", "loses", "doubles"])
        if (kind in ("gives", "loses") and n >= value) or (kind == "doubles" and value > 25):
            kind = "finds"
        if kind in ("finds", "buys"):
            words, expr, result = f"{name} {kind} {n} more {item}", f"{value} + {n}", value + n
        elif kind == "doubles":
            words, expr, result = f"{name} doubles the {item}", f"{value} * 2", value * 2
        else:
            to = f" to {friend}" if kind == "gives" else ""
            words, expr, result = f"{name} {kind} {n} {item}{to}", f"{value} - {n}", value - n
        told.append(f"{words}.")
        steps.append(Step(words, expr, str(result)))
        value = result
    told.append(f"How many {item} does {name} have now?")
    return boxed("math", " ".join(told), steps, str(value))


def shopping(rng: random.Random) -> Problem:
    """Two products and their sum."""
    name, (one, two) = rng.choice(NAMES), rng.sample(ITEMS, 2)
    n, p, m, q = (rng.randint(2, 9) for _ in range(4))
    question = (
        f"{one} cost {p} dollars each and {two} cost {q} dollars each. {name} buys {n} {one} and "
        f"{m} {two}. How many dollars does {name} pay?"
    )
    steps = [
        Step(f"{name} pays for {n} {one}", f"{n} * {p}", str(n * p)),
        Step(f"{name} pays for {m} {two}", f"{m} * {q}", str(m * q)),
        Step("both are added", f"{n * p} + {m * q}", str(n * p + m * q)),
    ]
    return boxed("math", question[0].upper() + question[1:], steps, str(n * p + m * q))


def loop(rng: random.Random) -> Problem:
    """A counted loop over one variable."""
    var, value, k, times = (
        rng.choice("xyn"),
        rng.randint(1, 20),
        rng.randint(2, 9),
        rng.randint(2, 5),
    )
    op = rng.choice("+-i")
    body = f"{var} = {var} + i" if op == "i" else f"{var} = {var} {op} {k}"
    value += k * times if op == "-" else 0
    code = f"{var} = {value}\nfor i in range({times}):\n    {body}\nprint({var})"
    steps = []
    for i in range(times):
        by, sign = (i, "+") if op == "i" else (k, op)
        result = value - by if sign == "-" else value + by
        verb = "takes" if sign == "-" else "adds"
        steps.append(Step(f"pass {i + 1} {verb} {by}", f"{value} {sign} {by}", str(result)))
        value = result
    return boxed("code", f"What does this program print?\n{code}", steps, str(value))


def conditional_sum(rng: random.Random) -> Problem:
    """A sum over the items of a list that pass a test."""
    xs, limit, value = [rng.randint(1, 9) for _ in range(rng.randint(3, 5))], rng.randint(3, 8), 0
    code = (
        f"total = 0\nfor x in {xs}:\n    if x > {limit}:\n        total = total + x\nprint(total)"
    )
    steps = []
    for x in xs:
        by, test = (x, "is more than") if x > limit else (0, "is not more than")
        steps.append(Step(f"{x} {test} {limit}", f"{value} + {by}", str(value + by)))
        value += by
    return boxed("code", f"What does this program print?\n{code}", steps, str(value))


LAWS = (  # quantity, unit, how it is told, the law
    (
        "force",
        "N",
        "A mass of {a} kg is accelerated at {b} m/s2",
        "force is mass times acceleration",
    ),
    ("distance", "m", "A cart moves for {a} s at {b} m/s", "distance is time times speed"),
    (
        "voltage",
        "V",
        "A current of {a} A flows through {b} ohm",
        "voltage is current times resistance",
    ),
    ("power", "W", "A lamp takes {a} A at {b} V", "power is current times voltage"),
    ("work", "J", "A force of {a} N acts along {b} m", "work is force times distance"),
    ("momentum", "kg m/s", "A ball of {a} kg moves at {b} m/s", "momentum is mass times speed"),
)


def law(rng: random.Random) -> Problem:
    """A product of two quantities, as multiple choice."""
    quantity, unit, told, rule = rng.choice(LAWS)
    a, b = rng.randint(2, 9), rng.randint(2, 9)
    wrong = {a + b, a * b + a, a * b + b, a * b + 1, abs(a - b) + 1, 2 * a * b} - {a * b}
    options = [a * b, *rng.sample(sorted(wrong), 3)]
    rng.shuffle(options)
    letter = "ABCD"[options.index(a * b)]
    listed = "\n".join(f"{x}) {v} {unit}" for x, v in zip("ABCD", options, strict=True))
    steps = [Step(rule, f"{a} * {b}", str(a * b))]
    for x, v in zip("ABCD", options, strict=True):
        verdict = "right" if v == a * b else "wrong"
        steps.append(Step(f"option {x} says {v} {unit}", f"option {x} with {v}", verdict, "is"))
        if v == a * b:
            break
    question = f"{told.format(a=a, b=b)}. What is the {quantity}?\n{listed}"
    return boxed("science", question, steps, letter)


ORDERS: dict[str, Callable[[list[str]], list[str]]] = {
    "put them in reverse order": lambda ws: ws[::-1],
    "sort them": sorted,
    "drop the first word": lambda ws: ws[1:],
    "drop the last word": lambda ws: ws[:-1],
    "move the first word to the end": lambda ws: [*ws[1:], ws[0]],
    "write the first word twice": lambda ws: [ws[0], *ws],
}
FORMS: dict[str, Callable[[list[str]], str]] = {
    "write them in capitals": lambda ws: " ".join(ws).upper(),
    "join them with dashes": "-".join,
    "put commas between them": ", ".join,
    "put stars around them": lambda ws: f"* {' '.join(ws)} *",
}


def wording(rng: random.Random) -> Problem:
    """One or two rearrangements of a few words, then a format."""
    words = rng.sample(WORDS, rng.randint(3, 5))
    told, steps = [], []
    for order in rng.sample(list(ORDERS), rng.randint(1, 2)):
        new = ORDERS[order](words)
        steps.append(Step(order, " ".join(words), " ".join(new), "->"))
        told.append(order)
        words = new
    form = rng.choice(list(FORMS))
    final = FORMS[form](words)
    steps.append(Step(form, " ".join(words), final, "->"))
    first = steps[0].expr
    question = (
        f"Words: {first}.\nInstructions: {', then '.join([*told, form])}. Give the result only."
    )
    return Problem("instruction_following", question, tuple(steps), final, final)


MAKERS = {
    "math": (collection, shopping),
    "code": (loop, conditional_sum),
    "science": (law,),
    "instruction_following": (wording,),
}


def held_out(question: str) -> bool:
    """Whether a question is kept from training: 1 in 20, by its own hash."""
    return zlib.crc32(question.encode()) % 20 == 0


def problems(seed: int, domain: str, *, held: bool) -> Iterator[Problem]:
    """Endless problems of a domain, all held out or none; the same for the same seed."""
    rng = random.Random(f"{seed} {domain}")
    while True:
        problem = rng.choice(MAKERS[domain])(rng)
        if held_out(problem.question) == held:
            yield problem


if __name__ == "__main__":
    for one in DOMAINS:
        made = next(problems(0, one, held=True))
        print(f"--- {one}\n{made.question}\n=> {made.reference}")
