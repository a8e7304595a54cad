"""Where a server is and how one is let in: addresses, TLS, token, metadata; the same for gRPC and HTTP."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TypedDict
from urllib.parse import urlsplit

from tritone_client.calls.call import headers_of
from tritone_client.exceptions import InvalidInput
from tritone_client.media import read_file

_PORTS = {"grpc": 8001, "grpcs": 443, "http": 80, "https": 443}
EXAMPLES = "localhost:8001, grpcs://tritone.example:8001 or https://tritone.example"


class Connecting(TypedDict, total=False):
    """How a client reaches its server.

    Args:
        timeout_s: how long an answer may take where the call does not say, retries included, in seconds; 60 by default.
        retries: how often a request is sent again that was refused before it started, or never reached a server; 2 by
            default, as with OpenAI's and Anthropic's clients.
        ca: file of the certificates that the server's must be signed by; the system's by default.
        certificate, key: files by which the client shows who it is.
        token: sent as `authorization: Bearer ...`.
        metadata: headers that go with every request.
    """

    timeout_s: float
    retries: int
    ca: str | PathLike[str] | None
    certificate: str | PathLike[str] | None
    key: str | PathLike[str] | None
    token: str | None
    metadata: Mapping[str, str] | None


@dataclass(frozen=True)
class Address:
    """One place where a server answers."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def is_encrypted(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme.endswith("s")

    @property
    def is_http(self) -> bool:
        """Whether it speaks HTTP, and not gRPC."""
        return self.scheme.startswith("http")

    @property
    def target(self) -> str:
        """host:port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Access:
    """What opens the door."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    ca: str | PathLike[str] | None = None
    certificate: str | PathLike[str] | None = None
    key: str | PathLike[str] | None = None

    @classmethod
    def of(cls, options: Connecting) -> "Access":
        """From a client's options.

        Raises: InvalidInput: a header that cannot be sent; a certificate without its key.
        """
        headers = dict(options.get("metadata") or {})
        if (token := options.get("token")) is not None:
            headers["authorization"] = f"Bearer {token}"
        ca, certificate, key = options.get("ca"), options.get("certificate"), options.get("key")
        if (certificate is None) != (key is None):
            raise InvalidInput("certificate and key belong together: give both, or neither")
        return cls(headers_of(headers), ca, certificate, key)

    def tls(self) -> ssl.SSLContext:
        """For HTTP.

        Raises: InvalidInput: a file that cannot be read, or holds something else.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(f"ca, certificate or key cannot be used: {error}") from error
        return context

    def pem(self) -> dict[str, bytes | None]:
        """For gRPC: root certificates, the client's key and its certificate.

        Raises: InvalidInput: a file that cannot be read, or holds something else.
        """
        self.tls()  # gRPC itself says nothing of files that hold no certificate
        roots = self.ca or ssl.get_default_verify_paths().cafile  # gRPC's own roots are not the system's
        files = {"root_certificates": roots, "private_key": self.key, "certificate_chain": self.certificate}
        return {name: None if path is None else read_file(name, Path(path)) for name, path in files.items()}


def addresses_of(urls: str | Sequence[str], access: Access) -> list[Address]:
    """The addresses, all of one scheme.

    Raises: InvalidInput: naming what is no address; files for TLS with a scheme that has none.
    """
    listed = [urls] if isinstance(urls, str) else list(urls)
    addresses = [_address(url) for url in listed]
    if len({address.scheme for address in addresses}) != 1:
        raise InvalidInput(f"url is {urls!r}, must be one address or several of one scheme, such as {EXAMPLES}")
    if (access.ca or access.certificate) and not addresses[0].is_encrypted:
        scheme = addresses[0].scheme
        raise InvalidInput(f"ca or certificate is given, but {scheme}:// is not encrypted: use {scheme}s://")
    return addresses


def _address(url: str) -> Address:
    try:
        parts = urlsplit(url if "://" in url else f"grpc://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, a bracket that is not closed
        host = None
    if not host or parts.scheme not in _PORTS or parts.query or parts.fragment:
        raise InvalidInput(f"url is '{url}', must be an address such as {EXAMPLES}")
    return Address(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.rstrip("/"))
