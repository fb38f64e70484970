"""The pieces of evidence: what each of them says, as the predicate of a statement."""
