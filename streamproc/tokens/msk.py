"""Tokens for Amazon MSK, signed here with the credentials of the AWS SDK's own chain: environment, role, profile."""

import asyncio
import os
from typing import Any

from streamproc.errors import ConfigError
from streamproc.runtime.tokens import TokenUnavailable

EXTRA = "pip install 'streamproc[msk]'"
REGION = "STREAMPROC_KAFKA__AWS_REGION"


class MskTokens:
    """Signs a token for every log-in. That needs no request, and no token outlives the credentials that signed it."""

    def __init__(self, region: str | None) -> None:
        """Raise ConfigError where the extra is not installed, or the region is not known."""
        try:
            from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415  the extra
            from botocore.credentials import CredentialProvider  # noqa: PLC0415
            from botocore.session import Session  # noqa: PLC0415
        except ImportError:
            raise ConfigError(f"sasl_mechanism AWS_MSK_IAM needs an extra: {EXTRA}") from None
        session = Session()

        class Chain(CredentialProvider):  # type: ignore[misc]  # no types
            """The credentials of the chain, which the SDK caches and renews."""

            def load(self) -> Any:
                credentials = session.get_credentials()
                if credentials is None:
                    raise ConfigError(
                        "the AWS SDK finds no credentials for sasl_mechanism AWS_MSK_IAM: give the pod or machine a "
                        "role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    )
                return credentials.get_frozen_credentials()

        self._sign = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider
        self._chain = Chain()
        self._region = region or _region(session)

    async def token(self) -> str:
        """Return a new token; raises TokenUnavailable and ConfigError."""
        return await asyncio.to_thread(self._signed)

    def refused(self, token: str) -> None:
        """Do nothing: each log in has a new one anyway."""

    def _signed(self) -> str:
        try:
            token, _ = self._sign(self._region, self._chain)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001  of the SDK: its base class has many, and it lets others through
            raise TokenUnavailable(f"the AWS SDK gives no credentials ({type(error).__name__})") from None
        return str(token)


def _region(session: Any) -> str:
    region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
    if not region:
        raise ConfigError(f"sasl_mechanism AWS_MSK_IAM needs to know the cluster's region: set {REGION}")
    return str(region)
