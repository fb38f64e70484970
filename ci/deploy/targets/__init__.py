"""What runs a digest: each module is one adapter of `Target`, and all pass one contract."""
