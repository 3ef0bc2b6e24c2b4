"""The settings of the HTTP gateway. Each is read from the environment as `EMENDO_GATEWAY_<NAME>`."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from emendo_config.environment import EnvironmentSettings
from emendo_config.errors import ConfigurationError
from emendo_config.urls import is_loopback


class GatewaySettings(EnvironmentSettings):
    """The gateway's own settings, beside `Settings`.

    Raises:
        ConfigurationError: a value has the wrong form, or two values contradict each other.
    """

    model_config = SettingsConfigDict(env_prefix="EMENDO_GATEWAY_")

    def __init__(self, **values: Any) -> None:  # said again, because type checkers would ask for every field
        super().__init__(**values)

    # Access.
    host: str = Field("127.0.0.1", description="Address on which the gateway listens.")
    auth: Literal["keys", "off"] = Field(
        "keys", description="`off`: no key is asked for. Refused on any address but loopback."
    )
    hosts: str = Field(
        "",
        description="Host names under which the gateway is reached, separated by commas; `*.example.com` is a pattern. "
        "`localhost` and addresses are always accepted, other names are refused. `*`: all names.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of proxies, separated by commas, whose `X-Forwarded-For` is believed. "
        "Not `*`: then each caller could name an address of its own.",
    )
    metrics: Literal["open", "loopback", "key"] = Field(
        "open", description="`/metrics` is open to all, to this machine only, or to those with a key."
    )
    reembedding: bool = Field(
        False,
        description="Keys with the scope `admin` may re-embed the store. That concerns all projects, not just theirs.",
    )

    # Tokens (JWT) of an OpenID Connect provider, beside keys.
    jwt_issuer: str = Field("", description="Issuer (`iss`) of tokens that open the gateway. Empty: keys only.")
    jwt_audience: str = Field("", description="The name that a token's `aud` must have.")
    jwt_jwks: str = Field(
        "",
        description="The issuer's public keys: an address of `https`, also of `http` on this machine, or a file.",
    )
    jwt_project_claim: str = Field("emendo_project", description="The claim that names the project.")
    jwt_user_claim: str = Field(
        "",
        description="The claim, such as `sub`, that names the only user whose memories a token opens. "
        "Empty: all of the project.",
    )
    jwt_scope_claim: str = Field("scope", description="The claim with `emendo:read`, `emendo:write` or `emendo:admin`.")
    jwt_leeway: float = Field(
        30.0, ge=0, le=300, description="Seconds by which the issuer's clock may be ahead or behind."
    )

    # Rates.
    requests_per_minute: int = Field(
        60_000, ge=0, le=1_000_000_000, description="Requests of a key in a minute, unless the key says; 0: no limit."
    )
    failed_logins_per_minute: int = Field(
        30, ge=1, le=1_000_000, description="Requests with a wrong key that one address may make in a minute."
    )

    # Admission.
    max_reads: int = Field(64, ge=1, description="Reads that are worked at once.")
    max_writes: int = Field(64, ge=1, description="Writes that are worked at once.")
    max_waits: int = Field(2_000, ge=1, description="Requests that wait for a job, or follow its progress, at once.")
    max_queue_seconds: float = Field(
        1.0, ge=0, le=60, description="Longest wait for a place among them, before the answer is 503."
    )
    max_body_bytes: int = Field(10 << 20, ge=1_024, description="Largest body of a request.")
    max_buffered_bytes: int = Field(
        256 << 20, ge=1_024, description="Bodies of all requests together, while they arrive and are worked."
    )
    max_header_bytes: int = Field(16 << 10, ge=1_024, le=1 << 20, description="Largest head of a request.")
    max_connections: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Open connections. Beyond them the one that has been silent longest is closed; if all work, a new "
        "one gets 503.",
    )
    idle_timeout: float = Field(
        75.0,
        gt=0,
        le=3_600,
        description="Seconds that a connection is kept between two requests. Keep it above the 60 s after which load "
        "balancers end theirs, so that none sends a request into a connection that is being closed.",
    )
    header_timeout: float = Field(
        10.0, gt=0, le=600, description="Seconds for the head of a request, from its first byte or the connection on."
    )
    body_timeout: float = Field(20.0, gt=0, le=600, description="Seconds for the body of a request.")
    request_timeout: float = Field(
        30.0, gt=0, le=600, description="Seconds for the work on a request, and again for its answer to be taken."
    )
    max_wait: float = Field(60.0, ge=0, le=600, description="Longest `Prefer: wait`, in seconds.")
    shutdown_timeout: float = Field(
        10.0, gt=0, le=600, description="Seconds that requests under way may take after the gateway is told to stop."
    )

    # Scaling: one worker is wanted for each target.
    scaling_interactive_depth: int = Field(
        2_000, ge=1, description="Jobs in interactive inboxes that one worker keeps up with, for `/api/v1/scaling`."
    )
    scaling_interactive_age: float = Field(
        2.0, gt=0, description="Age in seconds that the oldest of them may have while one worker is enough."
    )
    scaling_inference_depth: int = Field(16, ge=1, description="The same for conversations to infer from.")
    scaling_inference_age: float = Field(30.0, gt=0, description="The age of the oldest of them, in seconds.")
    scaling_bulk_depth: int = Field(32, ge=1, description="The same for chunks of batches.")
    scaling_bulk_age: float = Field(60.0, gt=0, description="The age of the oldest of them, in seconds.")
    scaling_maintenance_depth: int = Field(32, ge=1, description="The same for maintenance.")
    scaling_maintenance_age: float = Field(300.0, gt=0, description="The age of the oldest of it, in seconds.")

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: dict[str, Any]) -> dict[str, Any]:
        """An empty environment variable counts as unset."""
        return {name: value for name, value in values.items() if value != ""}

    @model_validator(mode="after")
    def _check_relations(self) -> Self:
        if self.auth == "off" and not is_loopback(self.host):
            raise ConfigurationError(
                "EMENDO_GATEWAY_AUTH=off is for loopback addresses only, and the gateway would listen on another one",
                suggestion="listen on 127.0.0.1, or unset it and make keys with emendo keys create",
            )
        for proxy in self.trusted_proxies.split(",") if self.trusted_proxies else ():
            _require_network(proxy.strip())
        wrong = [name for name in self.host_names if "*" in name.removeprefix("*.") and name != "*"]
        if wrong:
            raise ConfigurationError(
                f"EMENDO_GATEWAY_HOSTS has a pattern that cannot be used: {wrong[0]}",
                suggestion="write a name such as memories.example.com, or *.example.com",
            )
        self._check_tokens()
        if self.max_buffered_bytes < self.max_body_bytes:
            raise ConfigurationError(
                f"EMENDO_GATEWAY_MAX_BUFFERED_BYTES ({self.max_buffered_bytes}) must not be below "
                f"EMENDO_GATEWAY_MAX_BODY_BYTES ({self.max_body_bytes})",
                suggestion="raise the first or lower the second: a body that is allowed must find room",
            )
        return self

    def _check_tokens(self) -> None:
        given = (self.jwt_issuer, self.jwt_audience, self.jwt_jwks)
        if not any(given):
            return
        if not all(given):
            raise ConfigurationError(
                "tokens need EMENDO_GATEWAY_JWT_ISSUER, EMENDO_GATEWAY_JWT_AUDIENCE and EMENDO_GATEWAY_JWT_JWKS",
                suggestion="set all three, or none",
            )
        if any(name != name.strip() for name in (self.jwt_project_claim, self.jwt_scope_claim, self.jwt_user_claim)):
            raise ConfigurationError(
                "a claim's name in EMENDO_GATEWAY_JWT_…_CLAIM has white space at an end", suggestion="strip it"
            )
        if self.auth == "off":
            raise ConfigurationError(
                "EMENDO_GATEWAY_AUTH=off asks for no token, and EMENDO_GATEWAY_JWT_ISSUER is set",
                suggestion="unset one of them",
            )
        problem = _jwks_problem(self.jwt_jwks)
        if problem:
            raise ConfigurationError(
                f"EMENDO_GATEWAY_JWT_JWKS cannot be used: {problem}",
                suggestion="write the address that the issuer's discovery document has as jwks_uri, or a file's path",
            )

    def scaling_target(self, queue: str) -> tuple[int, float]:
        """The depth, and the age in seconds, of a queue for which one worker is wanted."""
        return getattr(self, f"scaling_{queue}_depth"), getattr(self, f"scaling_{queue}_age")

    @property
    def host_names(self) -> list[str]:
        """The names of `hosts`, in lower case."""
        return [name for each in self.hosts.split(",") if (name := each.strip().lower().rstrip("."))]


def _jwks_problem(place: str) -> str | None:
    if "://" not in place:
        return None if Path(place).is_file() else "there is no such file"
    try:
        parts = urlsplit(place)
        host = parts.hostname or ""
        has_port = parts.port != 0
    except ValueError:
        return "it is malformed"
    if parts.username is not None or not host or not has_port:
        return "it is malformed, or has a user name"
    is_allowed = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    return None if is_allowed else "whoever is between could put other keys in place of the issuer's"


def _require_network(proxy: str) -> None:
    """Refuses what uvicorn would take for a name, and what holds every address.

    If all are believed, the leftmost address of the field counts, which the caller wrote. A wrong key would then be
    counted for another address each time.
    """
    try:
        network = ipaddress.ip_network(proxy)
    except ValueError:
        network = None
    if network is None or not network.prefixlen:
        raise ConfigurationError(
            f"EMENDO_GATEWAY_TRUSTED_PROXIES has an entry that is no proxy's address or network: {proxy[:100]}",
            suggestion="write an address such as 10.0.0.5, or the network of the proxies such as 10.0.0.0/24",
        )
