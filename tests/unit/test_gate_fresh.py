"""Comparisons that start both sides anew where a case is unclear, on invented servers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from ci.errors import BadAnswer, CheckBroken, NotReady, UsageError
from ci.gate import self_test, sides, stage, twins
from ci.gate.blocks import read_pairs
from ci.gate.compare import Comparison, compare, compare_rounds
from ci.gate.known import effect_of, keep, place_of
from ci.gate.known import read as read_starts
from ci.gate.measured import Options, Running, Watcher
from ci.gate.places import cores_of, on_cores, swapped
from ci.gate.result import result_of
from ci.gate.rule import METRICS
from ci.gate.sequential import LEAST_ROUNDS, Schedule
from ci.gate.sides import Contest, GateSide
from ci.gate.stage import Gate
from ci.gate.starts import ASSUMED, StartEffect, assumed
from ci.report.model import Check
from ci.settings import Settings
from ci.stages import Stages
from ci.verdict import Outcome, Verdict
from tests.live.quiet import Quiet
from tests.unit.gate_samples import Servers
from tests.unit.judged import check_of

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 30.0
KNOWN = StartEffect(dict.fromkeys(METRICS, 0.02), 12.0, "measured")
FRESH = Options(schedule=Schedule(pairs=12, rounds=6), seed=1, spares=2, effect=KNOWN)
STAYING = FRESH.staying()


@dataclass
class Starts:
    """Starts both sides of a round: each is as slow as its image, and as its start makes it.

    Args:
        image: How much slower the candidate's image is.
        luck: How much slower a start of the candidate happens to be, by round.
    """

    image: float = 0.0
    luck: Mapping[int, float] = field(default_factory=dict)
    rounds: list[int] = field(default_factory=list)
    up: int = 0

    @asynccontextmanager
    async def __call__(self, number: int) -> AsyncIterator[Running]:
        """Have both sides run."""
        assert not self.up, "the servers of the round before are still up"
        self.rounds.append(number)
        self.up += 1
        slower = (1 + self.image) * (1 + self.luck.get(number, 0.0)) - 1
        try:
            yield Running(Servers({f"new{number}": slower}), f"old{number}", f"new{number}")
        finally:
            self.up -= 1


async def run(starts: Starts, options: Options = FRESH) -> Comparison:
    """Compare in rounds."""
    with anyio.fail_after(HANG):
        return await compare_rounds(starts, options)


def check(comparison: Comparison) -> Check:
    """Return the check of a comparison."""
    return check_of("compare", partial(result_of, comparison))


async def test_a_clear_pass_takes_one_start() -> None:
    """Every equal image costs several starts."""
    starts = Starts()
    found = await run(starts)
    assert found.verdict is Verdict.PASSED
    assert starts.rounds == [1]
    assert not starts.up
    assert check(found).facts["starts of both sides"] == "1"


async def test_one_unlucky_start_costs_more_starts_and_no_failure() -> None:
    """A process that happens to be slow makes its image FAILED."""
    starts = Starts(luck={1: 0.08})
    found = await run(starts)
    assert found.verdict is Verdict.PASSED
    assert len(starts.rounds) > 1
    assert {pair.round for pair in found.pairs} == set(starts.rounds)


async def test_a_slow_image_fails_after_some_starts_and_not_before() -> None:
    """One start decides on an image, or a slow image takes all rounds."""
    starts = Starts(image=0.15)
    found = await run(starts)
    assert found.verdict is Verdict.FAILED
    assert LEAST_ROUNDS <= len(starts.rounds) < 6
    case = check(found).cases[1]
    assert f" pairs in {len(starts.rounds)} starts of both sides, p = " in case.message
    assert check(found).facts["verdict on"].startswith("both images")


async def test_a_suspicious_start_is_not_measured_to_its_end() -> None:
    """Minutes go into pairs of a start that can't decide anything."""
    options = replace(FRESH, schedule=Schedule(pairs=24, rounds=6))
    found = await run(Starts(image=0.3), options)
    assert sum(pair.round == 1 for pair in found.pairs) == 12


async def test_starts_that_differ_too_much_are_inconclusive() -> None:
    """A machine whose starts differ by 30 % lets everything past, or stops everything."""
    luck = {number: 0.4 if number % 2 else -0.3 for number in range(1, 9)}
    starts = Starts(luck=luck)
    found = await run(starts)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert starts.rounds == [1, 2, 3, 4, 5, 6]
    assert found.need is None
    assert "see gate.rounds" in check(found).cause


async def test_processes_that_stay_up_dont_fail_within_what_starts_differ_by() -> None:
    """Two URLs of one image FAILED because one of both processes is slower."""
    found = await compare(Servers({"new": 0.07}), "old", "new", STAYING)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.processes
    assert found.processes.verdict is Verdict.FAILED
    told = check(found)
    assert "these two processes differ, but two starts of one image may differ by" in told.cause
    assert told.facts["verdict on"].startswith("these two processes")
    assert "effect of a start" in told.facts


async def test_processes_that_differ_by_more_than_starts_do_fail() -> None:
    """Nothing can fail any more where nothing can be started."""
    found = await compare(Servers({"new": 0.4}), "old", "new", STAYING)
    assert found.verdict is Verdict.FAILED
    same = await compare(Servers(), "old", "new", STAYING)
    assert same.verdict is Verdict.PASSED


async def test_the_question_of_two_processes_is_as_it_was() -> None:
    """Where starts aren't the question they still widen the bounds."""
    found = await compare(Servers({"new": 0.07}), "old", "new", STAYING.of_processes())
    assert found.verdict is Verdict.FAILED
    assert "verdict on" not in check(found).facts


async def test_a_side_that_fails_to_start_again(tmp_path: Path) -> None:
    """A second start that fails goes unnoticed, or the wrong side is blamed."""
    for broken, verdict in (("candidate", Verdict.FAILED), ("baseline", Verdict.ERROR)):
        machine = Host(broken=broken, from_start=2)
        found = await machine.compare(tmp_path, slower=0.5)
        assert found.verdict is verdict
        assert not machine.up


class Host:
    """Starts servers of settings files, in place of `ci.gate.sides.up`."""

    def __init__(self, broken: str = "", from_start: int = 1) -> None:
        self.up: list[str] = []
        self.starts: list[tuple[str, str, frozenset[int]]] = []
        self._broken, self._from = broken, from_start

    @asynccontextmanager
    async def __call__(self, side: GateSide, _: Stages) -> AsyncIterator[str]:
        """Have a side up."""
        gpu = side.settings.server.environment.get("CUDA_VISIBLE_DEVICES", "")
        self.starts.append((side.name, gpu, frozenset(os.sched_getaffinity(0))))
        count = sum(name == side.name for name, _, _ in self.starts)
        if side.name == self._broken and count >= self._from:
            raise NotReady("serving", 1.0, "nothing")
        self.up.append(side.name)
        try:
            yield side.url or f"http://{side.name}"
        finally:
            self.up.remove(side.name)

    async def compare(
        self, folder: Path, slower: float, url: str = "", agent: str = "", **gate: object
    ) -> Check:
        """Compare two sides that are started here, or by agents, the candidate slower."""
        at = {"pairs": 12, "start_effect": 0.02, "seed": 2, "others": 1} | gate
        settings = Settings.model_validate({"gate": at})
        theirs = "http://baseline" if agent else ""
        baseline = GateSide("baseline", theirs, settings=settings, agent=agent)
        ours = Gate(baseline, Contest.of(settings))
        other = GateSide("candidate", url, settings=settings, agent=agent)

        @asynccontextmanager
        async def loaded(*_: object) -> AsyncIterator[Servers]:
            yield Servers({"http://candidate": slower})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sides, "up", self)
            patch.setattr(sides, "loaded", loaded)
            stages, found = Stages(Quiet(), folder), list[Check]()
            await stages.run("compare", partial(ours.run, other, stages))
            found += stages.checks
        return found[0]


async def test_servers_beside_agents_are_started_anew(tmp_path: Path) -> None:
    """In containers the verdict is on two processes, as if nobody could start others."""
    host = Host()
    found = await host.compare(tmp_path, slower=0.5, url="http://candidate", agent="http://agent")
    assert found.verdict is Verdict.FAILED
    assert found.facts["verdict on"].startswith("both images")
    assert int(found.facts["starts of both sides"]) >= 3
    assert len(host.starts) == 2 * int(found.facts["starts of both sides"])


async def test_sides_swap_their_places_with_each_start(tmp_path: Path) -> None:
    """What the second place, or one of two GPUs, costs is called the candidate's."""
    host = Host()
    found = await host.compare(tmp_path, slower=0.5, servers="gpus")
    assert found.verdict is Verdict.FAILED
    firsts = [name for name, gpu, _ in host.starts if gpu == "0"]
    assert firsts == [name for name, _, _ in host.starts[::2]]
    assert len(firsts) >= LEAST_ROUNDS
    assert all(one != other for one, other in pairwise(firsts))
    assert not host.up
    rounds = [pair.round for pair in read_pairs(tmp_path / "pairs.jsonl")]
    assert rounds == sorted(rounds)
    assert rounds[-1] == len(firsts)


async def test_one_running_side_is_judged_as_a_process(tmp_path: Path) -> None:
    """A server that can't be started anew is asked for rounds, and the same process comes back."""
    host = Host()
    found = await host.compare(tmp_path, slower=0.1, url="http://candidate")
    assert len(host.starts) == 2
    assert found.facts["verdict on"].startswith("these two processes")


async def test_cores_are_swapped_and_given_back(tmp_path: Path) -> None:
    """Both servers run on one core, always on the same one, or the client stays bound to it."""
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("one core")
    one, two = sorted(before)[:2]
    host = Host()
    await host.compare(tmp_path, slower=0.5, cores=(str(one), str(two)))
    assert os.sched_getaffinity(0) == before
    assert {cores for _, _, cores in host.starts} == {frozenset({one}), frozenset({two})}
    seen = {(name, cores) for name, _, cores in host.starts}
    assert len(seen) == 4


def test_cores_that_arent_there_are_refused() -> None:
    """A server is started on a core that it may not use, and fails for a reason nobody sees."""
    assert cores_of("0-2,5") == {0, 1, 2, 5}
    with pytest.raises(UsageError, match="9999"), on_cores(("9999", "0"), 0):
        pass
    assert swapped(3, 1) != swapped(3, 2)


@pytest.mark.parametrize(
    ("wish", "alone"),
    [
        ({}, True),
        ({"rounds": 1}, False),
        ({"repeat": False}, False),
        ({"servers": "boots"}, True),
    ],
)
def test_who_needs_the_machine_for_itself(wish: dict[str, object], *, alone: bool) -> None:
    """The candidate of a run stays up beside fresh starts of itself, or isn't compared at all."""
    settings = Settings.model_validate({"gate": wish})
    gate = Gate(GateSide("baseline", settings=settings), Contest.of(settings))
    assert gate.alone is alone
    if not gate.boots:
        assert not replace(gate, baseline=GateSide("baseline", "http://there")).alone


def test_what_is_known_of_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner's effect is lost, or used on another runner, model or load."""
    monkeypatch.setenv("RUNNER_NAME", "one")
    file = tmp_path / "starts.json"

    def settings(**more: object) -> Settings:
        return Settings.model_validate({"gate": {"starts_file": str(file)} | more})

    def known(**more: object) -> StartEffect:
        at = settings(**more)
        return effect_of(at.gate, at.model)

    assert known() == assumed(METRICS)
    at = settings()
    effect = StartEffect(dict.fromkeys(METRICS, 0.0123), 8.0, "")
    for _ in range(2):
        keep(file, place_of(at.gate, at.model), effect)
    assert len(read_starts(file).records) == 1
    assert known().spread == effect.spread
    assert known().freedom == 8
    assert "measured here by 8 twins" in known().source
    assert known(requests=64).spread["ttft"] == ASSUMED
    assert known(start_effect=0.5).spread["ttft"] == 0.5
    monkeypatch.setenv("RUNNER_NAME", "two")
    assert known().spread["ttft"] == ASSUMED


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2}', '{"records": [{"place": 1}]}'])
def test_a_file_that_isnt_ours_is_neither_read_nor_overwritten(tmp_path: Path, text: str) -> None:
    """A file of the user's is lost, or a broken record makes the bounds narrower."""
    file = tmp_path / "starts.json"
    file.write_text(text)
    settings = Settings.model_validate({"gate": {"starts_file": str(file)}})
    writes: Callable[[], None] = partial(
        keep, file, place_of(settings.gate, settings.model), assumed(METRICS)
    )
    for use in (partial(effect_of, settings.gate, settings.model), writes):
        with pytest.raises(UsageError, match=r"gate\.starts_file"):
            use()
    assert file.read_text() == text


async def test_a_baseline_that_breaks_in_a_later_round_is_not_the_candidates_fault() -> None:
    """A candidate FAILED because its baseline died in the second round."""

    @asynccontextmanager
    async def fresh(number: int) -> AsyncIterator[Running]:
        block = Servers({"new": 0.3}, problems={4: BadAnswer("old", "gone")} if number > 1 else {})
        yield Running(block, "old", "new")

    with pytest.raises((CheckBroken, BadAnswer)) as raised:
        await compare_rounds(fresh, FRESH)
    assert "gone" in str(raised.value)


def test_the_report_never_passes_what_the_comparison_does_not() -> None:
    """The cases of a comparison in rounds contradict its verdict."""
    for image in (0.0, 0.06, 0.15):
        found = anyio.run(run, Starts(image=image))
        outcomes = {case.outcome for case in check(found).cases}
        assert (Outcome.FAILED in outcomes) == (found.verdict is Verdict.FAILED)


async def twins_of(starts: Starts, count: int = 6) -> twins.Twins:
    """Return what twins show."""
    with pytest.MonkeyPatch.context() as patch, anyio.fail_after(HANG):
        patch.setattr(twins, "RUNS", 100)
        return await twins.compared(starts, FRESH, count, Watcher())


async def test_twins_show_what_a_start_adds() -> None:
    """A machine on which starts differ is believed to be quiet, or the other way round."""
    lucky = {number: (-1) ** number * 0.08 for number in range(1, 7)}
    loud, still = await twins_of(Starts(luck=lucky)), await twins_of(Starts())
    assert loud.effect
    assert still.effect
    assert loud.effect.spread["tpot"] == pytest.approx(0.08 / 2**0.5, rel=0.2)
    assert still.effect.spread["tpot"] < 0.02
    assert loud.effect.freedom == 6
    assert len(loud.comparison.pairs) == 6 * 6
    case = twins.case(still, "starts.json")
    assert case.outcome is Outcome.PASSED
    assert "measured by 6 twins, kept in starts.json" in case.message
    assert "start 6 of both sides: ttft " in case.details


async def test_starts_that_hide_a_slow_down_are_inconclusive() -> None:
    """A user trusts a gate that can find nothing on their machine."""
    lucky = {number: (-1) ** number * 0.5 for number in range(1, 7)}
    case = twins.case(await twins_of(Starts(luck=lucky)), "starts.json")
    assert case.outcome is Outcome.INCONCLUSIVE


async def test_twins_that_were_cut_say_nothing_of_starts() -> None:
    """A start's effect is taken from one start."""
    starts = Starts()

    @asynccontextmanager
    async def fresh(number: int) -> AsyncIterator[Running]:
        if number > 2:
            await anyio.sleep_forever()
        async with starts(number) as at:
            yield at

    with anyio.fail_after(HANG):
        found = await twins.compared(fresh, replace(FRESH, budget=0.5), 6, Watcher())
    assert starts.rounds == [1, 2]
    assert found.effect is None
    case = twins.case(found, "starts.json")
    assert case.outcome is Outcome.INCONCLUSIVE
    assert case.message == "gate.budget, 0.5 s, was spent"


async def test_the_self_test_keeps_what_it_measured(tmp_path: Path) -> None:
    """A start's effect is measured for a quarter of an hour, and the next run knows nothing."""
    file = tmp_path / "starts.json"
    at = {"pairs": 12, "seed": 2, "others": 1, "twins": 4, "starts_file": str(file)}
    settings = Settings.model_validate({"gate": at})
    side = GateSide("baseline", settings=settings)
    host, stages = Host(), Stages(Quiet(), tmp_path)

    @asynccontextmanager
    async def loaded(*_: object) -> AsyncIterator[Servers]:
        yield Servers()

    @asynccontextmanager
    async def slowed(url: str, _: float) -> AsyncIterator[str]:
        yield url

    with pytest.MonkeyPatch.context() as patch, anyio.fail_after(HANG):
        patch.setattr(sides, "up", host)
        patch.setattr(sides, "loaded", loaded)
        patch.setattr(self_test, "slowed", slowed)
        for module in (self_test, twins):
            patch.setattr(module, "RUNS", 50)
        contest = Contest.of(settings, side)
        await stages.run("compare", partial(stage.proof, side, None, contest, stages))
    assert len(host.starts) == 1 + 2 * 4
    assert read_starts(file).records[0].freedom == 4
    assert Contest.of(settings, side).options.effect != contest.options.effect
    assert [case.name for case in stages.checks[0].cases][-1] == "starts of one image"
    assert len(read_pairs(tmp_path / "twins.jsonl")) == 4 * 6
