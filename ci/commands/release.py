"""Subcommands of releases: images in a registry, with their evidence and their environments.

Who asks the registry and who signs stands in variables alone: `REGISTRY_USERNAME`,
`REGISTRY_PASSWORD`, `SIGNING_KEY`, `SIGNING_KEY_PASSWORD` and `SIGSTORE_ID_TOKEN`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ci.commands import environments
from ci.commands.options import ConfigFile, ReportDir, Set, effective
from ci.commands.outcome import EXIT, one_stage
from ci.commands.registry import Environment, needs_extra, note, opened
from ci.commands.registry import session as begin
from ci.verdict import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from ci.release.publish import Published
    from ci.report.model import Check, Report
    from ci.settings import Settings
    from ci.stages import StageResult, Stages, Tell

app = typer.Typer(
    help="Releases: evidence, approval, promotion. REGISTRY_USERNAME, REGISTRY_PASSWORD, "
    "SIGNING_KEY, SIGNING_KEY_PASSWORD and SIGSTORE_ID_TOKEN say who asks and signs.",
    no_args_is_help=True,
)

Layout = Annotated[Path, typer.Argument(help="The image: an OCI layout, as a tar or a folder.")]
Target = Annotated[str, typer.Argument(help="Where to; without a tag, registry.tag makes one.")]
Ref = Annotated[str, typer.Argument(help="The image in its registry, by tag or by digest.")]


@app.command()
def push(layout: Layout, ref: Target, config: ConfigFile = None, settings: Set = None) -> None:
    """Push an image without evidence, and print its reference by digest."""
    from ci.image.layout import OciLayout
    from ci.image.push import push as send
    from ci.release import intake

    image, at = OciLayout.open(layout), effective(config, settings, {}).settings
    with begin(ref, at) as session:
        target = intake.target(image, session.reference, at)
        immutable = at.registry.immutable
        done = send(image, session.registry, target, immutable=immutable, progress=note)
    typer.echo(done.reference)


@app.command()
def publish(
    layout: Layout,
    ref: Target,
    report: Annotated[Path | None, typer.Option(help="The report that proves the image.")] = None,
    installed: Annotated[
        Path | None, typer.Option(help="What is installed in it, as installed.py printed it.")
    ] = None,
    base: Annotated[
        list[str] | None, typer.Option(help="A base image of the build, NAME@sha256:DIGEST.")
    ] = None,
    lock: Annotated[
        list[Path] | None, typer.Option(help="A file that the build took in, such as a lock.")
    ] = None,
    untested: Annotated[  # noqa: FBT002
        bool, typer.Option("--untested", help="Publish without a report that PASSED.")
    ] = False,
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: Annotated[
        Path | None, typer.Option(help="Folder for that report with this publication in it.")
    ] = None,
) -> None:
    """Push an image that PASSED, attach its evidence, and print its reference by digest."""
    from ci.image.layout import OciLayout
    from ci.image.listing import Installed
    from ci.release import intake
    from ci.release.publication import Publication
    from ci.release.publish import publish as send
    from ci.report.write import load

    image, at = OciLayout.open(layout), effective(config, settings, {}).settings
    proven = load(report) if report else None

    def published() -> Published:
        with begin(ref, at) as session:
            publication = Publication(
                layout=image,
                reference=intake.target(image, session.reference, at),
                report=proven,
                installed=Installed.load(installed) if installed else None,
                where=intake.origin(image, session.where),
                materials=intake.materials(image, base or (), lock or ()),
                config=intake.building(at),
                built=intake.built(image),
            )
            return send(publication, intake.desk(session, note), untested=untested)

    if report_dir:
        _into_report(at, report_dir, proven, published)
    typer.echo(published().pushed.reference)


@app.command()
def show(
    ref: Ref,
    html: Annotated[Path | None, typer.Option(help="File that gets the page as HTML.")] = None,
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Print one page on a release, in Markdown: evidence, approvals, environments."""
    from ci.release import page

    with opened(ref, config, settings) as session:
        found = page.page_of(session.judge(session.target))
    if html:
        page.write_html(found, html)
    typer.echo(page.to_markdown(found), nl=False)


@app.command()
def verify(
    ref: Ref,
    environment: Annotated[
        str, typer.Option("--environment", "--policy", help="The environment whose policy decides.")
    ],
    config: ConfigFile = None,
    settings: Set = None,
    report_dir: ReportDir = None,
) -> None:
    """Judge whether a release may go to an environment, and leave a report."""
    from anyio import to_thread

    from ci.release.policy import Policy
    from ci.stages import StageResult

    at = effective(config, settings, {}).settings
    Policy.of(at, environment)
    with begin(ref, at) as session:
        target = session.target

        async def judged(_: Stages, tell: Tell) -> StageResult:
            check = await to_thread.run_sync(
                lambda: session.judge(target).check(environment), abandon_on_cancel=True
            )
            for case in check.cases:
                tell(case)
            return StageResult(facts=check.facts)

        one_stage(at, report_dir, f"policy {environment}", judged)


@app.command()
def approve(
    ref: Ref,
    environment: Environment,
    by: Annotated[str, typer.Option(help="Who approves: one of the environment's approvers.")],
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Attach an approval of this digest for an environment."""
    from ci.release import approval

    with opened(ref, config, settings) as session:
        judge, where = session.judge(session.target), session.where.to_dict()
        said = approval.statement_of(environment, by, where, session.now, comment)
        new = approval.approve(judge, environment, session.signer, said)
    already = "" if new else " already"
    typer.echo(f"{judge.reference} is approved{already} for {environment} by {by}")


@app.command()
def promote(
    ref: Ref,
    environment: Environment,
    rollback: Annotated[  # noqa: FBT002
        bool, typer.Option("--rollback", help="Go back to what was there before, however old.")
    ] = False,
    resume_after_rollback: Annotated[
        str, typer.Option(help="Why something new may go there after a roll-back; recorded.")
    ] = "",
    config: ConfigFile = None,
    settings: Set = None,
) -> None:
    """Move an environment's tag to a release, where the environment's policy holds."""
    from ci.release import promotion

    with opened(ref, config, settings) as session:
        judge = session.judge(session.target)
        plan = promotion.plan(
            judge.reader(environment),
            judge.image,
            rollback=rollback,
            resumed=resume_after_rollback,
        )
        if plan.state is not promotion.PromotionState.THERE:
            _refuse(judge.check(environment, rollback=rollback))
        where = session.where.to_dict()
        line = promotion.carry_out(plan, session.signer, where, session.now)
    typer.echo(f"{judge.reference} is in {environment}: promotion {line.number}")


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key: writes NAME.key and NAME.pub.")],
) -> None:
    """Make a key that signs evidence; SIGNING_KEY_PASSWORD locks it."""
    needs_extra()
    from ci.release.key_files import write

    private, public = write(Path(), name, os.environ.get("SIGNING_KEY_PASSWORD", ""))
    typer.echo(f"{private}: keep it secret; SIGNING_KEY={private} signs with it")
    typer.echo(f'{public}: for everybody: [trust] keys = {{ {name} = "{public}" }}')


for command in (environments.history, environments.current, environments.previous):
    app.command()(command)


def _into_report(
    settings: Settings, folder: Path, proven: Report | None, published: Callable[[], Published]
) -> None:
    """Publish as one stage more of the report that proves the image, and exit as it says."""
    from anyio import to_thread

    async def publication(stages: Stages, tell: Tell) -> StageResult:
        done = await to_thread.run_sync(published)
        stages.published = str(done.pushed.reference)
        return done.result(tell)

    one_stage(settings, folder, "publish", publication, before=proven)


def _refuse(check: Check) -> None:
    """Name everything that keeps a release from its environment, and exit as the verdict says."""
    if check.verdict is Verdict.PASSED:
        return
    for case in check.cases:
        if case.outcome not in {Outcome.PASSED, Outcome.SKIPPED}:
            note(f"{case.outcome}: {case.name}: {case.message}")
    note(f"sglang-ci: {check.name}: {check.cause}")
    raise typer.Exit(EXIT[check.verdict])
