"""How the tiers share two workers: `pytest -n 2 --dist loadgroup`."""

from __future__ import annotations

from pathlib import Path

import pytest

TIERS = ("engine", "live")
"""Tiers that share one thing, so that one worker runs all of it; the longest first."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each tier of `TIERS` together and begin with it, unit tests filling the gaps."""

    def tier(item: pytest.Item) -> str:
        return item.path.relative_to(Path(__file__).parent).parts[0]

    order = {name: place for place, name in enumerate(TIERS)}
    items.sort(key=lambda item: order.get(tier(item), len(TIERS)))
    for item in items:
        if tier(item) in TIERS:
            item.add_marker(pytest.mark.xdist_group(tier(item)))
