"""Requests that nobody wrote: drawn from a server's schema, sent, and judged."""
