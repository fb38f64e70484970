"""A release: an image digest with its evidence, approvals and promotions in the registry.

The registry is the only state. Every piece of evidence is one in-toto statement about the
digest, in a signed envelope, attached to it as an OCI referrer; so anyone who has the
reference can read and check all of it.
"""
