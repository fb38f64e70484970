"""What a user hands to the module, carried from noun to noun."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import mkdtemp

import dagger
from dagger import object_type

from ci.errors import SettingsError
from ci.settings import Settings, load
from ci.settings.load import read
from ci.settings.paths import UNSEEN, unseen

PROVING = ("server", "image")
"""What the paths of settings are for (`HostPath.use`) where a server is started and asked."""


class WrongSettingsError(Exception):
    """Settings can't be used as they are; the message has a line on each that is wrong."""

    def __init__(self, errors: Iterable[SettingsError]) -> None:
        super().__init__("\n".join(map(str, errors)))


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
    ca: dagger.File | None = None


@object_type
class Inputs:
    """The user's own files and secrets; each may be missing."""

    origin: Origin
    credentials: Credentials
    config: dagger.File | None = None
    model: dagger.Directory | None = None
    smoke_cases: dagger.Directory | None = None
    prompts: dagger.File | None = None
    boards: dagger.Directory | None = None
    hub_token: dagger.Secret | None = None
    revision: str = ""

    async def right(self) -> Settings:
        """Return the settings in the user's file that are right, whatever else stands there."""
        if self.config is None:
            return Settings()
        return read(await self._file())[0].settings

    async def _file(self) -> Path:
        """Return the user's settings file, brought here."""
        assert self.config is not None  # noqa: S101
        file = Path(mkdtemp()) / await self.config.name()
        await self.config.export(str(file))
        return file

    async def settings(self, uses: Sequence[str] = PROVING) -> Settings:
        """Read the user's `sglang-ci.toml`; defaults where there is none.

        Args:
            uses: For what paths in it would be needed, as `HostPath` has it.

        Raises:
            WrongSettingsError: A key or value in it isn't allowed, or names something of the
                host that a container can't see.
        """
        if self.config is None:
            return Settings()
        file = await self._file()
        try:
            settings = load(file).settings
        except SettingsError as error:
            raise WrongSettingsError((error, *error.others)) from error
        base = file.parent
        wrong = [
            SettingsError(file.name, one.key, f"{one.told(base)} {UNSEEN}; {one.cure(base)}")
            for one in unseen(settings, base, self._given(), uses)
        ]
        if wrong:
            raise WrongSettingsError(wrong)
        return settings

    def _given(self) -> set[str]:
        """Return the arguments that were passed, of those that bring a path into a container."""
        arguments = {
            "--model": self.model,
            "--smoke-cases": self.smoke_cases,
            "--prompts": self.prompts,
            "--boards": self.boards,
            "--trust": self.credentials.trust,
            "--registry-ca": self.credentials.ca,
        }
        return {name for name, given in arguments.items() if given is not None}

    def with_config(self, config: dagger.File) -> "Inputs":
        """Return the same with other settings."""
        return Inputs(
            origin=self.origin,
            credentials=self.credentials,
            config=config,
            model=self.model,
            smoke_cases=self.smoke_cases,
            prompts=self.prompts,
            boards=self.boards,
            hub_token=self.hub_token,
            revision=self.revision,
        )
