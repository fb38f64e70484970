"""A comparison from its first block to its end, on invented servers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import anyio
import pytest

from ci.errors import BadAnswer, CheckBroken, UsageError
from ci.gate.blocks import Arm, BlockResult
from ci.gate.compare import Comparison, compare
from ci.gate.duel import Duel
from ci.gate.sequential import Schedule
from ci.gate.starts import assumed
from ci.verdict import Verdict
from tests.unit.gate_samples import QUICK, Diary, Servers

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HANG = 30.0


async def run(servers: Servers, diary: Diary | None = None, **options: object) -> Comparison:
    """Compare the servers `old` and `new`."""
    asked = replace(QUICK, **options)  # type: ignore[arg-type]
    with anyio.fail_after(HANG):
        return await compare(servers, "old", "new", asked, diary)


async def test_equal_servers_pass_early() -> None:
    """Equal servers fail, or take all pairs for what half of them show."""
    found = await run(Servers())
    assert found.verdict is Verdict.PASSED
    assert len(found.pairs) == 6
    assert found.need is None


@pytest.mark.parametrize("slower", [0.1, 1.0])
async def test_a_slower_candidate_fails(slower: float) -> None:
    """A slow candidate passes, or another size is told than it has."""
    found = await run(Servers({"new": slower}))
    assert found.verdict is Verdict.FAILED
    assert found.decision is not None
    for finding in found.decision.findings:
        assert finding.ratio == pytest.approx(1 + slower, rel=0.03)
        assert finding.low <= finding.ratio <= finding.high


async def test_a_slower_baseline_passes_as_faster() -> None:
    """The two sides are swapped."""
    found = await run(Servers({"old": 0.3}), schedule=Schedule(12, interim=False))
    assert found.verdict is Verdict.PASSED
    assert found.decision is not None
    assert all(finding.faster for finding in found.decision.findings)


async def test_noise_is_inconclusive_after_one_repeat_and_says_what_is_needed() -> None:
    """A noisy run passes, goes on for ever, or leaves the user alone with it."""
    diary = Diary()
    found = await run(Servers(noise=0.4), diary)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert [decision.look.pairs for decision in diary.decisions] == [6, 9, 12, 18, 24]
    assert len(found.pairs) == 24
    assert found.need is not None
    assert found.need.pairs is None or found.need.pairs > 24


async def test_both_sides_get_the_same_new_prompts_after_a_warm_up() -> None:
    """Prompts differ between the sides or come again, or a cold server is measured."""
    servers = Servers()
    found = await run(servers, warmup=2)
    assert len(servers.calls) == 2 * (2 + len(found.pairs))
    pairs = list(zip(servers.calls[::2], servers.calls[1::2], strict=True))
    assert all(one[1] == other[1] for one, other in pairs)
    assert all({one[0], other[0]} == {"old", "new"} for one, other in pairs)
    assert len({seed for _, seed in servers.calls}) == len(pairs)
    assert [pair.seed for pair in found.pairs] == [one[1] for one, _ in pairs[2:]]
    firsts = ["old" if pair.first == "baseline" else "new" for pair in found.pairs]
    assert firsts == [one[0] for one, _ in pairs[2:]]


async def test_an_equal_seed_repeats_the_run() -> None:
    """A run can't be repeated."""
    one, same = await run(Servers()), await run(Servers())
    assert one == same
    assert (await run(Servers(), seed=2)).pairs != one.pairs


async def test_an_unusable_pair_is_measured_anew_and_told() -> None:
    """A request that failed ends the run, or goes unsaid."""
    diary = Diary()
    found = await run(Servers(problems={5: "1 of 3 requests failed"}), diary)
    assert found.verdict is Verdict.PASSED
    assert [pair.index for pair in found.pairs] == list(range(len(found.pairs)))
    assert len(diary.problems) == 1
    assert diary.problems == list(found.broken)
    assert "after 1 pairs: 1 of 3 requests failed" in found.broken[0]


async def test_many_unusable_pairs_are_inconclusive() -> None:
    """A server that fails one request in ten passes for its speed, or is asked for ever."""
    problems = dict.fromkeys(range(1, 99), "1 of 3 requests failed")
    servers = Servers(problems=problems)
    found = await run(servers, warmup=0)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.cut.startswith("3 pairs were unusable; the last: ")
    assert len(servers.calls) == 6
    assert found.need is None


async def test_a_candidate_that_breaks_is_its_own_fault() -> None:
    """A candidate that dies in mid-run is inconclusive."""
    error = BadAnswer("new", "gone")
    with pytest.raises(BadAnswer):
        await run(Servers(problems=dict.fromkeys(range(5, 99), error)), warmup=0)


async def test_a_baseline_that_breaks_is_not_the_candidates_fault() -> None:
    """A candidate FAILED because its baseline died."""

    async def block(server: str, seed: int) -> BlockResult:
        if server == "old":
            raise BadAnswer("old", "gone", body="log")
        return await Servers()(server, seed)

    with pytest.raises(CheckBroken, match="the baseline is broken: old: gone") as broken:
        await compare(block, "old", "new", QUICK)
    assert broken.value.details == "log"


async def test_a_spent_budget_is_inconclusive() -> None:
    """A slow machine holds a job for ever, or a cut run passes."""

    async def block(server: str, seed: int) -> BlockResult:
        if len(servers.calls) > 9:
            await anyio.sleep_forever()
        return await servers(server, seed)

    servers = Servers()
    with anyio.fail_after(HANG):
        found = await compare(block, "old", "new", replace(QUICK, budget=0.3, warmup=0))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.cut == "gate.budget, 0.3 s, was spent"
    assert len(found.pairs) == 5


async def test_a_schedule_that_shows_nothing_is_refused_before_anything_is_asked() -> None:
    """Servers are asked for minutes before a typing error is named."""
    servers = Servers()
    with pytest.raises(UsageError):
        await run(servers, schedule=Schedule(3))
    assert not servers.calls


async def test_answers_are_held_against_each_other() -> None:
    """Servers that say other things go unnoticed."""
    found = await run(Servers())
    assert found.agreement.compared == 2 * len(found.pairs)
    assert found.agreement.share == 1


async def test_a_comparison_that_is_broken_off_goes_on() -> None:
    """A watch that is interrupted loses its pairs, takes a look twice, or repeats prompts."""
    diary, servers = Diary(), Servers(noise=0.4)
    duel = Duel({Arm.BASELINE: "old", Arm.CANDIDATE: "new"}, QUICK, diary)

    async def measure(url: str, seed: int) -> BlockResult:
        if len(servers.calls) % 7 == 6:
            servers.calls.append(("broken off", seed))
            raise TimeoutError
        return await servers(url, seed)

    while not duel.over:
        with suppress(TimeoutError):
            await duel.measure(measure)
    await duel.measure(measure)
    assert [decision.look.pairs for decision in diary.decisions] == [6, 9, 12, 18, 24]
    assert [pair.index for pair in duel.pairs] == list(range(24))
    assert len({pair.seed for pair in duel.pairs}) == 24


async def test_other_work_never_ends_a_duel() -> None:
    """A busy machine ends a watch without a verdict, or nobody learns of the pairs it took."""
    diary, servers = Diary(), Servers({"new": 0.3})

    async def busy(url: str, seed: int) -> BlockResult:
        return replace(await servers(url, seed), disturbance="make took 90 % of all cores")

    duel = Duel({Arm.BASELINE: "old", Arm.CANDIDATE: "new"}, QUICK, diary)
    with anyio.fail_after(HANG):
        await duel.measure(busy)
    assert duel.decision is not None
    assert duel.decision.verdict is Verdict.FAILED
    assert len(duel.unusable) == len(diary.problems) == QUICK.spares
    assert all("make took 90 % of all cores" in line for line in duel.unusable)


async def test_a_duel_is_of_two_processes() -> None:
    """A watch waits for starts that it can't have, or finds nothing within what they may add."""
    rule, schedule = QUICK.rule, Schedule(12, rounds=8)
    asked = replace(QUICK, schedule=schedule, effect=assumed(rule.metrics, 0.2))
    assert asked.restarts
    duel = Duel({Arm.BASELINE: "old", Arm.CANDIDATE: "new"}, asked)
    await duel.measure(Servers({"new": 0.3}))
    assert duel.decision is not None
    assert duel.decision.verdict is Verdict.FAILED
    assert duel.decision.look.rounds == 1
