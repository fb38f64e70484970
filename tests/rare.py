"""Which of many alike cases `make test` tries, and which only `make prove`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

LONG = pytest.mark.long


def rare(values: Iterable[Any], often: int = 1) -> list[Any]:
    """Return values for `parametrize`: from the one after `often` on each is marked as long."""
    return [
        value if number < often else pytest.param(*_parts(value), marks=LONG)
        for number, value in enumerate(values)
    ]


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
