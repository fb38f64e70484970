"""The JSON schema of `report.json`, for readers in other languages.

`python -m ci.report.schema > docs/report.schema.json` writes it anew after a change of
the model.
"""

from __future__ import annotations

import json
import sys

from ci.report.model import Report


def schema() -> str:
    """Return the JSON schema of a report as it is written, verdicts included."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | Report.model_json_schema(mode="serialization"), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
