"""What our menus need of any model: an answer that is one of our dishes."""

import pytest

pytestmark = pytest.mark.needs("regex")


def test_answers_with_a_dish(generate):
    """An answer outside of the menu would be printed as it is."""
    answer = generate("Starters:", regex="(soup|salad)", max_new_tokens=8)
    assert answer.text in {"soup", "salad"}
