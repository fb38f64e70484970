"""Where a deployment's commands do their work: on this host, or on another over SSH."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ci.deploy.deployment import Deployment
    from ci.deploy.grounds import Grounds
    from ci.registry.access import Access
    from ci.settings import Settings


def grounds_of(
    settings: Settings,
    environment: str,
    config: Path | None,
    access: Access | None = None,
) -> Grounds:
    """Return what an environment stands on, here or on its host.

    Their `settings` are those in force; on another host, with paths as that host has them.

    Args:
        settings: The settings in force.
        environment: The environment's name.
        config: Their file, where one is named.
        access: How containers' images are had from their registry.

    Raises:
        UsageError: There is no such environment, or what another host needs is missing here.
    """
    from ci.deploy.grounds import Grounds, deploy_settings

    if not deploy_settings(settings, environment).host:
        return Grounds.of(settings, environment, access)
    from ci.deploy.remote.errand import Errand
    from ci.deploy.remote.far import FarGrounds

    errand = Errand.of(settings, environment, list(_bases(config)), os.environ)
    return FarGrounds.by(errand)


def _bases(config: Path | None) -> Iterable[Path]:
    """Yield the folders from which relative paths in settings were resolved."""
    if config is not None:
        yield config.parent
    yield Path.cwd()


def deployment_of(
    grounds: Grounds, access: Access | None = None, wait: float = 0, approved: int = 0
) -> Deployment:
    """Return a deployment to an environment, which is carried out where that is.

    Args:
        grounds: What the environment stands on.
        access: How containers' images are had from their registry.
        wait: Most seconds to wait for another deployment's end.
        approved: Manual gates up to this share are open.
    """
    from ci.deploy.deployment import Deployment
    from ci.deploy.remote.far import FarDeployment, FarGrounds
    from ci.registry.access import Access

    if not isinstance(grounds, FarGrounds):
        return Deployment(grounds, wait, approved)
    pulls = access or Access()
    return FarDeployment(grounds, wait, approved, errand=grounds.errand, pulls=pulls)


def there() -> None:
    """Carry out an order that another host's sglang-ci gives on standard input."""
    from ci.deploy.remote.there import serve

    serve()
