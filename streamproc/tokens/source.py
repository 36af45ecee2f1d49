"""Which tokens the settings ask for."""

from streamproc.runtime.config import KafkaSettings
from streamproc.runtime.tokens import TokenSource
from streamproc.tokens.endpoint import TokenEndpoint
from streamproc.tokens.file import TokenFile
from streamproc.tokens.keeper import Keeper
from streamproc.tokens.msk import MskTokens


def source_of(settings: KafkaSettings) -> TokenSource:
    """Return what gives tokens; raises ConfigError where a setting or a package is missing."""
    if settings.sasl_mechanism == "AWS_MSK_IAM":
        return MskTokens(settings.aws_region)
    if settings.oauth.token_file is not None:
        return TokenFile(settings.oauth.token_file)
    return Keeper(lambda: TokenEndpoint(settings.oauth.renewed()).fetch())
