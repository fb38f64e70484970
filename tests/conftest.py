"""What all tiers of tests share."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Return the event loop under which `anyio` tests run: the one that the command uses."""
    return "asyncio"
