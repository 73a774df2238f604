"""All fuzz targets: one for each parser of data that users bring, or that a disk may damage."""

from __future__ import annotations

from tests.fuzz.of_files import FILES
from tests.fuzz.of_records import RECORDS
from tests.fuzz.of_rows import ROWS
from tests.fuzz.of_settings import SETTINGS
from tests.fuzz.of_text import TEXT
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (*FILES, *ROWS, *TEXT, *SETTINGS, *RECORDS)
