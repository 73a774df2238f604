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
def table(shared_data: Callable[[str], Path]) -> TokenTable:
    return TokenTable.load(shared_data("tokenizers/gpt-oss"))


@pytest.fixture(scope="session")
def encode(shared_data: Callable[[str], Path]) -> Callable[[str], list[int]]:
    """Text with harmony's tags as the model's ids."""
    from tokenizers import Tokenizer

    path = shared_data("tokenizers/gpt-oss") / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids
