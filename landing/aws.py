"""Clients of S3 and SQS, and what their errors mean: away for now, or wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import ConnectionError as NoConnection

from schemas.errors import BrokerUnavailable, ConfigError

_CONFIG: Final = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
_PASSING: Final = frozenset({"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded"})
_REFUSED: Final = frozenset({"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_CREDENTIALS: Final = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role"


def client(service: str, region: str | None = None) -> Any:
    """Return a client with credentials, endpoint and (unless given) region as AWS's own tools find them.

    Raises:
        ConfigError: a profile, an endpoint or a region that can't be.
    """
    region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        return boto3.session.Session().client(service, region_name=region, config=_CONFIG)
    except (BotoCoreError, ProfileNotFound, ValueError) as error:
        raise ConfigError(f"the client of {service} can't be made: {one_line(error)}") from error


@contextmanager
def errors(place: str, what: str) -> Iterator[None]:
    """Turn AWS's errors into playlake's.

    Args:
        place: that was asked for.
        what: was to be done with it, such as `list`.

    Raises:
        BrokerUnavailable: it is away, or throttles.
        ConfigError: it refuses, there is no such place, or the AWS settings are at fault.
    """
    try:
        yield
    except ClientError as error:
        raise _of_client_error(error, place, what) from None  # its traceback would tell the key's id
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise ConfigError(f"no AWS credentials to {what} {place}: {_CREDENTIALS} ({error})") from error
    except (NoConnection, HTTPClientError) as error:
        raise BrokerUnavailable(
            f"no answer from {place} ({one_line(error)}): is AWS_ENDPOINT_URL right, and the network there?"
        ) from error
    except BotoCoreError as error:
        raise ConfigError(f"boto3 can't {what} {place}: {one_line(error)}") from error


def code_of(error: ClientError) -> str:
    """Return the code of AWS's answer."""
    return str(error.response.get("Error", {}).get("Code", ""))


def one_line(error: Exception) -> str:
    """Return an error's text on one line."""
    return " ".join(str(error).split())


def _of_client_error(error: ClientError, place: str, what: str) -> Exception:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{code}: {error.response.get('Error', {}).get('Message', '')}".strip(": ")
    if code in _PASSING or status >= 500:
        return BrokerUnavailable(f"AWS can't {what} {place} now ({said})")
    if code in _REFUSED:
        return ConfigError(f"AWS does not let these credentials {what} {place} ({said}): {_CREDENTIALS}")
    return ConfigError(f"AWS can't {what} {place} ({said}): check the address, AWS_PROFILE and AWS_ENDPOINT_URL")
