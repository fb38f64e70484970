"""The kinds of evidence: each module is one, and says as `KIND` all that is special about it."""
