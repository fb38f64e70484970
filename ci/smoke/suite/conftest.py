"""The order of the suite: the plainest cases first, so that a bad server's first cause is plain."""

import pytest

from ci.smoke import SUITE

ORDER = (
    *("test_generate.py", "test_openai.py", "test_stream.py", "test_constraint.py"),
    *("test_stop.py", "test_choices.py", "test_logprobs.py", "test_prefix_cache.py"),
    *("test_embedding.py", "test_concurrency.py", "test_disconnect.py", "test_bad_request.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the suite's cases; others keep their place behind them."""
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    ours = item.path.parent == SUITE
    return ORDER.index(item.path.name) if ours else len(ORDER)
