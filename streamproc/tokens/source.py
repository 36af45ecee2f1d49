"""Chooses the source of tokens by the settings."""

import asyncio
from functools import partial

from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.tokens import TokenSource
from streamproc.tokens.endpoint import TokenEndpoint
from streamproc.tokens.file import TokenFile
from streamproc.tokens.keeper import Token, TokenKeeper
from streamproc.tokens.msk import MskTokens


def source_of(settings: KafkaSettings) -> TokenSource:
    """Return the source of tokens; raises ConfigError where a setting or a package is missing."""
    if settings.sasl_mechanism == "AWS_MSK_IAM":
        return MskTokens(settings.aws_region)
    if settings.oauth.token_file is not None:
        return TokenFile(settings.oauth.token_file)
    return TokenKeeper(partial(_fetched, settings))


async def _fetched(settings: KafkaSettings) -> Token:
    # In a thread: it reads files, and makes a TLS context.
    endpoint = await asyncio.to_thread(lambda: TokenEndpoint(settings.oauth.renewed()))
    return await endpoint.fetch()
