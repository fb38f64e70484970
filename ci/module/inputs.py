"""What a user hands to the module, carried from noun to noun."""

from pathlib import Path
from tempfile import mkdtemp

import dagger
from dagger import object_type

from ci.errors import SettingsError
from ci.settings import Settings, load


@object_type
class Origin:
    """Who builds, and where, for the release record."""

    actor: str = ""
    build_url: str = ""


@object_type
class Credentials:
    """Who asks a registry, how it is reached, and with which key evidence is signed."""

    username: str = ""
    password: dagger.Secret | None = None
    registry: dagger.Service | None = None
    signing_key: dagger.Secret | None = None
    signing_key_password: dagger.Secret | None = None
    identity_token: dagger.Secret | None = None
    trust: dagger.Directory | None = None


@object_type
class Inputs:
    """The user's own files and secrets; each may be missing."""

    origin: Origin
    credentials: Credentials
    config: dagger.File | None = None
    model: dagger.Directory | None = None
    smoke_cases: dagger.Directory | None = None
    prompts: dagger.File | None = None
    hub_token: dagger.Secret | None = None
    revision: str = ""

    async def settings(self) -> Settings:
        """Read the user's `sglang-ci.toml`; defaults where there is none.

        Raises:
            SettingsError: A key or value in it isn't allowed, or names a folder that a
                container can't see.
        """
        if self.config is None:
            return Settings()
        name = await self.config.name()
        file = Path(mkdtemp()) / name
        await self.config.export(str(file))
        settings = load(file).settings
        if settings.model.path is not None and self.model is None:
            raise SettingsError(name, "model.path", "not seen from a container", "pass --model too")
        if settings.smoke.directories and self.smoke_cases is None:
            raise SettingsError(
                name, "smoke.directories", "not seen from a container", "pass --smoke-cases too"
            )
        if settings.bench.prompts is not None and self.prompts is None:
            raise SettingsError(
                name, "bench.prompts", "not seen from a container", "pass --prompts too"
            )
        return settings

    def with_config(self, config: dagger.File) -> "Inputs":
        """Return the same with other settings."""
        return Inputs(
            origin=self.origin,
            credentials=self.credentials,
            config=config,
            model=self.model,
            smoke_cases=self.smoke_cases,
            prompts=self.prompts,
            hub_token=self.hub_token,
            revision=self.revision,
        )
