"""Any server of the OpenAI API: what its specification promises, and nothing more.

Such a server is started by `[engine] command`, or runs already. Source: OpenAI's API
reference, `/v1/models`, `/v1/completions`, `/v1/chat/completions`, as servers copy it. Run
against a fake only.
"""

from __future__ import annotations

from collections.abc import Mapping

from ci.engines.profile import Capability, Profile

BEYOND: Mapping[Capability, str] = {
    Capability.NATIVE: "only SGLang has /generate and /server_info",
    Capability.EMBEDDING: "whether it makes embeddings isn't known",
    Capability.REGEX: "the OpenAI API has no regular expressions",
    Capability.EBNF: "the OpenAI API has no grammars",
    Capability.JSON_SCHEMA: "not every server of the OpenAI API holds to a schema",
    Capability.LOGPROBS: "not every server of the OpenAI API gives log-probabilities",
    Capability.PREFIX_CACHE: "only SGLang tells of each answer what was cached",
    Capability.CHOICES: "not every server of the OpenAI API gives several choices",
    Capability.PROMPTS: "not every server of the OpenAI API takes several prompts",
    Capability.STREAM_USAGE: "not every server of the OpenAI API counts tokens of a stream",
    Capability.EXACT_USAGE: "the OpenAI API has no way to ignore the end of text",
    Capability.STRICT: "the OpenAI API doesn't say which wrong values are refused",
}
"""What a server of the OpenAI API isn't known to do."""


def lacks(
    *does: Capability, because: Mapping[Capability, str] | None = None
) -> dict[Capability, str]:
    """Return what an engine lacks that does no more than the specification and `does`.

    Args:
        *does: What it does beyond the specification.
        because: Better reasons for what it doesn't.
    """
    return {one: why for one, why in {**BEYOND, **(because or {})}.items() if one not in does}


PROFILE = Profile(name="openai", title="the OpenAI API", absent=lacks(), clean_exits=(0, -15))
