"""Which transport an address wants."""

from collections.abc import Sequence

from tritone_client.transports.access import Access, addresses_of
from tritone_client.transports.grpc import AsyncGrpcTransport, GrpcTransport
from tritone_client.transports.http import AsyncHttpTransport, HttpTransport
from tritone_client.transports.rotating import AsyncRotatingTransport, RotatingTransport
from tritone_client.transports.transport import AsyncTransport, Transport


def open_transport(url: str | Sequence[str], access: Access) -> Transport:
    """A transport to the address, or to all of them in turn; nothing is sent yet.

    Raises: InvalidInput: what is no address; files for TLS that cannot be used.
    """
    addresses = addresses_of(url, access)
    kind = HttpTransport if addresses[0].is_http else GrpcTransport
    transports: list[Transport] = [kind(address, access) for address in addresses]
    return transports[0] if len(transports) == 1 else RotatingTransport(transports)


def open_async_transport(url: str | Sequence[str], access: Access) -> AsyncTransport:
    """The same for an event loop."""
    addresses = addresses_of(url, access)
    kind = AsyncHttpTransport if addresses[0].is_http else AsyncGrpcTransport
    transports: list[AsyncTransport] = [kind(address, access) for address in addresses]
    return transports[0] if len(transports) == 1 else AsyncRotatingTransport(transports)
