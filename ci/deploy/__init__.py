"""A released digest goes out: slots on a target, traffic by a router, one step after the other.

What is wanted stands in the registry, what is there is seen in target and router, and nothing
else is remembered. So a deployment that was cut off is resumed by repeating it.
"""
