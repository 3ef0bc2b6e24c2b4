"""Why there was no answer at all: the words and the advice for a connection that failed or broke off.

The library's own words are not handed on, since they may quote a proxy's address with its password.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

# Causes after which the provider has not even seen the request.
NOT_CONNECTED = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError")
_MOST_CAUSES = 8


def described(error: BaseException, url_setting: str) -> tuple[str, str]:
    """The problem, and what to do about it.

    Args:
        error: of the HTTP client, with its causes.
        url_setting: the setting of the provider's address.
    """
    cause = type(error).__name__
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            reason = each.verify_message.partition(", certificate is not valid")[0]
            return (
                f"the provider's certificate is not trusted ({reason})",
                f"SSL_CERT_FILE names a CA of your own; check the host in {url_setting}",
            )
        if isinstance(each, ssl.SSLError):
            return (
                "the provider's address does not speak TLS, or not a version of it that is trusted",
                f"check whether {url_setting} should begin with http:// instead of https://",
            )
        if isinstance(each, socket.gaierror):
            return (
                "the name of the provider's host is not known here",
                f"check the host in {url_setting} (OpenAI itself if it is not set), and this machine's DNS or proxy",
            )
        if isinstance(each, ConnectionRefusedError):
            return (
                "nothing listens at the provider's address",
                f"start the server, or check {url_setting}; within a container, localhost is the container itself",
            )
    if cause in NOT_CONNECTED:
        problem = f"the provider cannot be reached ({cause})"
        advice = f"check {url_setting} (OpenAI itself if it is not set) and this machine's network"
    elif cause == "DecodingError":
        problem = "the provider's answer is packed in a way that was not asked for, or badly"
        advice = f"let no proxy before {url_setting} use another Content-Encoding than gzip or deflate"
    else:
        problem = f"the connection to the provider broke off ({cause})"
        advice = f"look into the log of the server at {url_setting}, or of a proxy before it"
    return problem, advice


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_MOST_CAUSES):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
