"""A client of OCI registries: names, transfers, log-in, referrers."""
