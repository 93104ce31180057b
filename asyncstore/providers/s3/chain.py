"""The identity that the machine is configured with, resolved by aiobotocore's providers.

The environment, then profiles (role assumption, web identity, SSO, static keys, `aws login`,
`credential_process`), then the container's and the instance's own roles. Each call resolves
anew, from files and services as they are then, since aiobotocore itself goes on with expired
keys of the instance's role; `credentials.Refreshing` says when.

What was found first is kept to: a later resolution that leads to another kind of source, because
a file was half-written at that moment, say, is an error and never another identity.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import os
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleProvider,
    AioCanonicalNameCredentialSourcer,
    AioContainerProvider,
    AioEnvProvider,
    AioInstanceMetadataProvider,
    AioProcessProvider,
    AioProfileProviderBuilder,
)
from aiobotocore.session import AioSession
from aiobotocore.utils import (
    AioContainerMetadataFetcher,
    AioInstanceMetadataFetcher,
    create_nested_client,
)
from botocore import exceptions as sdk_errors
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.utils import JSONFileCache, resolve_imds_endpoint_mode

from asyncstore.credentials import Secret
from asyncstore.errors import (
    ConfigurationError,
    DeadlineError,
    PermissionDeniedError,
    StoreError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
)
from asyncstore.providers.s3.credentials import S3Credentials, check_region
from asyncstore.providers.s3.sdk import EngineSession

if TYPE_CHECKING:
    from asyncstore.types import Settings

PATIENCE = 60.0
"""Seconds within which a source must have answered."""

_SOURCES = {
    "env": "environment",
    "assume-role": "assumed role",
    "assume-role-with-web-identity": "web identity",
    "sso": "SSO",
    "shared-credentials-file": "credentials file",
    "config-file": "config file",
    "custom-process": "credential_process",
    "login": "aws login",
    "container-role": "container role",
    "iam-role": "instance role",
}
_STYLES = ("auto", "path", "virtual")
_DEFAULT_REGION = "us-east-1"


_resolving: ContextVar[bool] = ContextVar("asyncstore_resolving", default=False)


class _NoSecrets(logging.Filter):
    """Drops what botocore tells at level DEBUG, where bodies and headers with keys are, while
    keys are resolved for us; what it tells its other users at that level stays as it was.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG or not _resolving.get()


_no_secrets = _NoSecrets()


def _keep_quiet() -> None:
    # A filter holds for its own logger and not for those below it.
    for name, logger in tuple(logging.root.manager.loggerDict.items()):
        if name.startswith(("botocore.", "aiobotocore.")) and isinstance(logger, logging.Logger):
            logger.addFilter(_no_secrets)


class Chain:
    """Resolves the machine's identity; one object for the life of a provider.

    Args:
        settings: the CA bundle and `allow_http` are taken from it.
        profile: the profile that was asked for by name. Only that profile is looked at then,
            neither the environment's keys nor the machine's own role, unless the profile says so.
    """

    def __init__(self, settings: Settings, profile: str | None = None) -> None:
        self._settings = settings
        self._profile = profile
        self._method: str | None = None

    async def __call__(self) -> S3Credentials:
        """Resolve now.

        Raises:
            ConfigurationError: a profile or variable is wrong.
            UnauthenticatedError: no identity, or no longer the one that was used.
            PermissionDeniedError: a role may not be assumed.
            UnavailableError: the source could not be reached.
        """
        failure: StoreError
        _keep_quiet()
        resolving = _resolving.set(True)
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._resolve()
        except StoreError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the SDK raises many kinds
            failure = _translated(error, self._name)
        finally:
            _resolving.reset(resolving)
        # Outside of the handlers: the SDK's errors may hold secrets, also as a context.
        failure.__context__ = failure.__cause__ = None
        raise failure

    @property
    def _name(self) -> str:
        return self._profile or os.environ.get("AWS_PROFILE") or "default"

    async def _resolve(self) -> S3Credentials:
        session = self._session()
        place = _place(session)
        for provider in _providers(session, self._settings, self._profile):
            found = await provider.load()
            if found is not None:
                break
        else:
            self._refuse_none()
        # What was just fetched; asked in public, it would fetch keys of a short life once more.
        keys = getattr(found, "_frozen_credentials", None) or await found.get_frozen_credentials()
        self._pin(found.method)
        end = getattr(found, "_expiry_time", None)
        return S3Credentials(
            keys.access_key,
            Secret(keys.secret_key),
            Secret(keys.token) if keys.token else None,
            expires_at=end.timestamp() if end else None,
            source=self._source(found.method),
            **place,
        )

    def _session(self) -> AioSession:
        session = AioSession(profile=self._profile)
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        session.set_config_variable("region", region or _DEFAULT_REGION)
        if self._settings.ca_bundle is not None:
            session.set_config_variable("ca_bundle", self._settings.ca_bundle)
        session.set_default_client_config(
            AioConfig(
                http_session_cls=partial(EngineSession, allow_http=self._settings.allow_http),
                connect_timeout=5,
                read_timeout=10,
                retries={"total_max_attempts": 1},  # there is one retry loop, and it is ours
            )
        )
        return session

    def _pin(self, method: str) -> None:
        if self._method is None:
            self._method = method
        elif self._method != method:
            raise UnauthenticatedError(
                f"the {_SOURCES.get(self._method, self._method)} gives no credentials any more; "
                f"the {_SOURCES.get(method, method)} would, but that is another identity"
            )

    def _refuse_none(self) -> NoReturn:
        if self._method is not None:
            kind = _SOURCES.get(self._method, self._method)
            raise UnavailableError(f"the {kind} gives no credentials at the moment")
        if self._profile is not None:
            raise ConfigurationError(f"the profile {self._profile!r} has no credentials")
        raise UnauthenticatedError(
            "no AWS credentials found: pass creds={'aws_access_key_id': …, "
            "'aws_secret_access_key': …}, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run "
            '`aws configure`, or pass creds="anon" for a public bucket'
        )

    def _source(self, method: str) -> str:
        kind = _SOURCES.get(method, method)
        if method in ("env", "container-role", "iam-role"):
            return kind
        return f"{kind}, profile {self._name!r}"


def _place(session: AioSession) -> dict[str, Any]:
    """Read endpoint, region and addressing style from environment and profile."""
    scoped = session.get_scoped_config()
    endpoint = None
    if not session.get_config_variable("ignore_configured_endpoint_urls"):
        endpoint = ConfiguredEndpointProvider(
            full_config=session.full_config, scoped_config=scoped, client_name="s3"
        ).provide()
    region = (
        os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION")
        or scoped.get("region")
        or None
    )
    s3 = scoped.get("s3")
    style = s3.get("addressing_style", "auto") if isinstance(s3, dict) else "auto"
    if style not in _STYLES:
        raise ConfigurationError(f"addressing_style is one of {', '.join(_STYLES)}, not {style!r}")
    return {
        "endpoint_url": endpoint or None,
        "region": check_region(region) if region else None,
        "style": style,
    }


def _providers(session: AioSession, settings: Settings, profile: str | None) -> list[Any]:
    """Return where to look, in order; as botocore does, but for sources that nobody asks for."""
    env = AioEnvProvider()
    quick = {"timeout": session.get_config_variable("metadata_service_timeout")}
    container = AioContainerProvider(
        fetcher=AioContainerMetadataFetcher(session=EngineSession(timeout=2, direct=True))
    )
    instance = AioInstanceMetadataProvider(
        iam_role_fetcher=_InstanceFetcher(
            **quick,
            num_attempts=session.get_config_variable("metadata_service_num_attempts"),
            user_agent=session.user_agent(),
            config=_instance_config(session),
            session=EngineSession(**quick, allow_http=settings.allow_http, direct=True),
        )
    )
    cache: dict[str, Any] = {}
    builder = _Builder(
        session,
        cache=cache,
        region_name=session.get_config_variable("region"),
        sso_token_cache=JSONFileCache(os.path.expanduser("~/.aws/sso/cache")),
    )
    name = profile or session.get_config_variable("profile") or "default"
    assumed = AioAssumeRoleProvider(
        load_config=lambda: session.full_config,
        client_creator=partial(_client, session),
        cache=cache,
        profile_name=name,
        prompter=_refuse_to_ask,
        credential_sourcer=AioCanonicalNameCredentialSourcer([env, container, instance]),
        profile_provider_builder=builder,
    )
    of_profile = builder.providers(profile_name=name, disable_env_vars=profile is not None)
    if profile is not None:
        return [assumed, *of_profile]
    return [env, assumed, *of_profile, container, instance]


def _client(session: AioSession, service: str, **options: Any) -> Any:
    region = session.get_config_variable("region")
    return create_nested_client(session, service, **{"region_name": region, **options})


def _instance_config(session: AioSession) -> dict[str, Any]:
    name = "ec2_metadata_service_endpoint"
    return {
        name: session.get_config_variable(name),
        f"{name}_mode": resolve_imds_endpoint_mode(session),
        "ec2_metadata_v1_disabled": session.get_config_variable("ec2_metadata_v1_disabled"),
    }


class _InstanceFetcher(AioInstanceMetadataFetcher):  # type: ignore[misc]
    """Tells the true end of the instance's keys, which botocore moves into the future."""

    def _evaluate_expiration(self, credentials: dict[str, Any]) -> None:
        pass


class _Builder(AioProfileProviderBuilder):  # type: ignore[misc]
    def _create_process_provider(self, profile_name: str) -> AioProcessProvider:
        return AioProcessProvider(
            profile_name=profile_name,
            load_config=lambda: self._session.full_config,
            popen=_start,
        )


class _Child:
    """A `credential_process` that does not outlive whoever waits for it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        try:
            return await self._process.communicate()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()


async def _start(*command: str, **options: Any) -> _Child:
    options["stdin"] = asyncio.subprocess.DEVNULL
    return _Child(await asyncio.create_subprocess_exec(*command, **options))


def _refuse_to_ask(_: str) -> NoReturn:
    raise ConfigurationError(
        "the profile's role asks for a one-time code, and nobody is there to type it; run "
        "`aws sts assume-role` by hand and use its keys, or use SSO"
    )


def _translated(error: Exception, profile: str) -> StoreError:  # noqa: PLR0911 - one decision
    """Say what the SDK said, without its text, which may quote a file or a reply."""
    if isinstance(error, sdk_errors.ProfileNotFound):
        return _no_such_profile(profile)
    if isinstance(error, sdk_errors.PartialCredentialsError):
        where = _SOURCES.get(str(error.kwargs.get("provider")), "environment or profile")
        variable = error.kwargs.get("cred_var")
        return ConfigurationError(f"half a key pair in the {where}: {variable} is missing")
    if isinstance(error, _SSO_ERRORS):
        return UnauthenticatedError(
            f"the SSO sign-in of profile {profile!r} is missing or has ended; run "
            f"`aws sso login --profile {profile}`"
        )
    if isinstance(error, sdk_errors.ClientError):
        return _refused(error)
    if isinstance(error, sdk_errors.CredentialRetrievalError | sdk_errors.MetadataRetrievalError):
        provider = str(error.kwargs.get("provider", ""))
        return _not_retrieved(_SOURCES.get(provider, provider or "metadata service"), profile)
    if isinstance(error, _CONNECTION_ERRORS):
        return UnavailableError("the service that hands out credentials could not be reached")
    if isinstance(error, TimeoutError):
        return DeadlineError(f"no credentials within {PATIENCE:.0f} s")
    if isinstance(error, sdk_errors.BotoCoreError):
        return ConfigurationError(
            f"the AWS configuration of profile {profile!r} is wrong ({type(error).__name__}); "
            "`aws configure list` shows what it holds"
        )
    if isinstance(error, OSError):
        name = error.filename if isinstance(error.filename, str) else "a file"
        return ConfigurationError(f"{name} could not be read: {error.strerror}")
    # Such as output of a credential_process that is not JSON.
    return ConfigurationError(
        f"the credentials of profile {profile!r} could not be read ({type(error).__name__})"
    )


_SSO_ERRORS = (
    sdk_errors.SSOError,
    sdk_errors.TokenRetrievalError,
)
_CONNECTION_ERRORS = (sdk_errors.ConnectionError, sdk_errors.HTTPClientError)


def _no_such_profile(profile: str) -> ConfigurationError:
    session = AioSession()
    # A profile of the environment that does not exist must not keep others from being listed.
    session.set_config_variable("profile", None)
    names = sorted(session.full_config.get("profiles", {}))
    close = difflib.get_close_matches(profile, names, 1)
    if close:
        hint = f"; is it {close[0]!r}?"
    else:
        hint = f"; there are {', '.join(map(repr, names[:20]))}" if names else "; there are none"
    return ConfigurationError(f"there is no profile {profile!r}{hint}")


_THROTTLED = frozenset(
    {
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


def _refused(error: sdk_errors.ClientError) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))[:80]
    asked = f"{error.operation_name} was refused ({code})"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _THROTTLED or status == 429:  # noqa: PLR2004
        return ThrottledError(asked, status=status)
    if isinstance(status, int) and status >= 500:  # noqa: PLR2004
        return UnavailableError(asked, status=status)
    if code in ("AccessDenied", "AccessDeniedException", "ForbiddenException"):
        return PermissionDeniedError(f"{asked}; may this identity assume the role?", status=status)
    return UnauthenticatedError(asked, status=status)


def _not_retrieved(kind: str, profile: str) -> StoreError:
    if kind == "credential_process":
        return ConfigurationError(
            f"the credential_process of profile {profile!r} failed or printed no credentials; "
            "run it by hand to see why"
        )
    return UnavailableError(f"the {kind} gave no credentials")
