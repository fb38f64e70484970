"""What moves a deployment's traffic: one module a router, all held by one suite of tests."""
