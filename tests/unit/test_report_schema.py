"""The JSON schema in docs/, which readers in other languages rely on."""

from pathlib import Path

import pytest

from ci.report.schema import schema

pytestmark = pytest.mark.unit

PUBLISHED = Path(__file__).parents[2] / "docs" / "report.schema.json"


def test_the_published_schema_is_the_models() -> None:
    """Readers are told of other fields than reports have: run `python -m ci.report.schema`."""
    assert PUBLISHED.read_text(encoding="utf-8") == schema()
