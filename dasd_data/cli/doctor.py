"""`doctor`."""

from __future__ import annotations

import click


@click.command()
def doctor() -> None:
    """Tell what is missing or wrong here, and what to do about it."""
