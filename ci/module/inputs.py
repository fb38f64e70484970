"""What a user hands to the module, carried from noun to noun."""

from pathlib import Path
from tempfile import mkdtemp

import dagger
from dagger import object_type

from ci.settings import Settings, load


@object_type
class Inputs:
    """The user's own files and secrets; each may be missing."""

    config: dagger.File | None = None
    model: dagger.Directory | None = None
    smoke_cases: dagger.Directory | None = None
    hub_token: dagger.Secret | None = None

    async def settings(self) -> Settings:
        """Read the user's `sglang-ci.toml`; defaults where there is none.

        Raises:
            SettingsError: A key or value in it isn't allowed.
        """
        folder = Path(mkdtemp())
        if self.config is None:
            return load(cwd=folder).settings
        file = folder / await self.config.name()
        await self.config.export(str(file))
        return load(file).settings
