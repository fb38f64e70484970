"""How a registry is reached and who asks: the part of the settings that a client needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

DOCKERS_NAMES = {"docker.io": "https://index.docker.io/v1/"}
"""Registries that Docker's configuration knows by another name."""


@dataclass(frozen=True)
class Access:
    """How a registry is reached, and as whom.

    Without a username the credentials of Docker's own configuration are used, credential
    helpers included; without those either, requests are anonymous.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    plain_http: bool = False
    ca_file: Path | None = None
    """PEM file of certificates to trust beside the system's."""
    endpoint: str = ""
    """Host and port to connect to, where that isn't the registry that references name."""
    timeout: float = 30.0
    """Most seconds in which nothing moves: to connect, until an answer, between two blocks."""
    attempts: int = 5
    """Most times that a request is sent, or an upload started, where a retry can help."""
    pause: float = 0.5
    """Seconds before the second attempt; each further pause is twice as long."""
