import os
from collections.abc import Callable
from pathlib import Path

import pytest

from builders.tokens.table import TokenTable

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """The path of a file beside the checkout; skips the test where it is absent."""

    def find(name: str) -> Path:
        path = Path(os.environ.get("DASD_SHARED", ROOT.parent / "shared"), "data", name)
        if not path.exists():
            pytest.skip(f"needs {name} in $DASD_SHARED/data")
        return path

    return find


@pytest.fixture(scope="session")
def qwen(shared_data: Callable[[str], Path]) -> TokenTable:
    return TokenTable.load(shared_data("tokenizers/qwen3"))


@pytest.fixture(scope="session")
def gpt_oss(shared_data: Callable[[str], Path]) -> TokenTable:
    return TokenTable.load(shared_data("tokenizers/gpt-oss"))


@pytest.fixture(scope="session")
def encoders(shared_data: Callable[[str], Path]) -> dict:
    from tokenizers import Tokenizer

    return {
        name: Tokenizer.from_file(str(shared_data(f"tokenizers/{name}") / "tokenizer.json"))
        for name in ("qwen3", "gpt-oss")
    }


@pytest.fixture
def hard_text() -> str:
    """Text whose tokens do not end at characters: emoji, CJK, LaTeX, accents, odd spaces."""
    return (
        "Let's see 👩‍👩‍👧‍👦 and 🏴󠁧󠁢󠁥󠁮󠁧󠁿. 我们需要证明 $\\sum_{i=1}^{n} i = \\frac{n(n+1)}{2}$。\n\n"
        "  Naïve façade — “quotes”… \t𝔽𝑥 ≤ ∞\u3000。\r\nثم العربية, עברית, हिन्दी, 한국어 각각.\n"
        "\\[\\begin{aligned}a&=b\\\\c&=d\\end{aligned}\\] `x = '</think>'` 🤖🤖🤖\n \n\n   end"
    )
