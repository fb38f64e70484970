"""What is published, and what evidence on it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from ci.release.material import Material

if TYPE_CHECKING:
    from ci.image.layout import OciLayout
    from ci.image.listing import Installed
    from ci.registry.reference import Reference
    from ci.release.where import Where
    from ci.report.model import Report
    from ci.settings import Settings


@dataclass(frozen=True)
class Publication:
    """What is published, and what is known of it.

    Args:
        layout: The image.
        reference: Where it goes to, with a tag.
        report: What the checks found; None where there were none.
        installed: What is installed in it; None where nobody looked.
        where: Who publishes, and where.
        materials: What its build took in.
        config: The settings of the build, without secrets.
        built: When it says that it was built, UTC; None where it doesn't.
    """

    layout: OciLayout
    reference: Reference
    report: Report | None
    installed: Installed | None
    where: Where
    materials: tuple[Material, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    built: datetime | None = None

    @property
    def subject(self) -> Reference:
        """The image, by its digest."""
        return self.reference.at(self.layout.image.digest)


@dataclass(frozen=True)
class Making:
    """What a piece of evidence is made of.

    Args:
        publication: What is published.
        settings: The settings in force.
        now: The time, UTC.
        made: Kind of each piece so far, to the digest of its bundle.
    """

    publication: Publication
    settings: Settings
    now: datetime
    made: Mapping[str, str]
