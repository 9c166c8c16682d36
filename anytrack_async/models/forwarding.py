"""The visitor's address in a request that came through proxies, by trusted hops only.

Each proxy appends the address that it got the request from to ``X-Forwarded-For`` or ``Forwarded``.
A visitor may send such headers too. So only addresses that trusted proxies wrote count; they are at
the right end. With the peer ``10.0.0.2`` and the header ``6.6.6.6, 203.0.113.5, 10.0.0.1``, and
``10.0.0.0/8`` trusted, the visitor is ``203.0.113.5``: the first address from the right that no
trusted proxy has; ``6.6.6.6`` is a lie or the visitor's own proxy.

Sources: RFC 7239 (Forwarded HTTP Extension); MDN, X-Forwarded-For, "Security and privacy concerns";
Cloudflare, HTTP request headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeAlias

import attrs

from anytrack_async.errors import InvalidArgumentError
from anytrack_async.models.notes import note_weakness
from anytrack_async.models.visitor import parsed_address

Network: TypeAlias = IPv4Network | IPv6Network

TrustedProxies: TypeAlias = int | str | Network | Iterable[str | Network]
"""How many proxies there are in front of the application, or the networks that they are in."""

_MAX_HOPS = 64
_MAX_HEADER = 16_384  # characters of a header that are read, from its end
_UNIX = "unix"
_NO_PROXIES: tuple[()] = ()


@attrs.frozen
class Trust:
    """The proxies that are trusted.

    Attributes:
        hops: how many proxies there are; None if networks are given.
        networks: the networks that trusted proxies are in.
        unix: whether a peer without an address, on a Unix socket, is trusted.
    """

    hops: int | None
    networks: tuple[Network, ...] = _NO_PROXIES
    unix: bool = False

    def covers(self, address: str | None) -> bool:
        """Return whether the peer *address*, None if it has none, is a trusted proxy."""
        if self.hops is not None:
            return self.hops > 0
        return self.unix if address is None else self.contains(address)

    def contains(self, address: str) -> bool:
        """Return whether *address* is in one of the networks."""
        parsed = parsed_address(address)
        return parsed is not None and any(parsed in network for network in self.networks)


def to_trust(trusted_proxies: TrustedProxies) -> Trust:
    """Return *trusted_proxies* as a `Trust`.

    Args:
        trusted_proxies: a number of proxies; or a network, or several, as text (``"10.0.0.0/8"``,
            ``"203.0.113.7"``) or of `ipaddress`; the text ``"unix"`` stands for Unix sockets.

    Raises:
        InvalidArgumentError: it is a negative number, or a text is no network.
    """
    if type(trusted_proxies) is int:
        if trusted_proxies < 0:
            raise InvalidArgumentError("trusted_proxies", "must be 0 or more proxies")
        return Trust(trusted_proxies)
    argument: Any = trusted_proxies
    networks: tuple[Any, ...]
    if isinstance(argument, str | IPv4Network | IPv6Network):
        networks = (argument,)
    elif isinstance(argument, Iterable):
        networks = tuple(argument)
    else:
        problem = "must be a number of proxies or a list of networks such as '10.0.0.0/8'"
        raise InvalidArgumentError("trusted_proxies", problem)
    return _trust_of_networks(networks)


@lru_cache(maxsize=64)  # the same few for every request, and parsing a network takes microseconds
def _trust_of_networks(networks: tuple[Any, ...]) -> Trust:
    try:
        parsed = tuple(ip_network(network) for network in networks if network != _UNIX)
    except ValueError:
        problem = "must be networks such as '10.0.0.0/8', without host bits, or 'unix'"
        raise InvalidArgumentError("trusted_proxies", problem) from None
    return Trust(None, parsed, _UNIX in networks)


def client_address(
    peer: str | None,
    trust: Trust,
    *,
    forwarded: str | None = None,
    forwarded_for: str | None = None,
    cloudflare: str | None = None,
) -> str | None:
    """Return the address of the visitor, which may be a private one; None if it is not known.

    Nothing of the headers counts unless the peer is trusted. If several of them give an address,
    they must agree: a proxy that writes one of them passes the others on as the visitor sent them.
    Otherwise the address is left out, as "contradictory proxy headers".

    Args:
        peer: the address that the connection comes from; None for a Unix socket.
        trust: the trusted proxies.
        forwarded: the header ``Forwarded``, several joined by commas.
        forwarded_for: the header ``X-Forwarded-For``.
        cloudflare: the header ``CF-Connecting-IP``.
    """
    own = None if peer is None else _address(peer)
    if not trust.covers(own):
        return own
    chains = (_chain_of_forwarded(forwarded or ""), _chain(forwarded_for or ""))
    clients = {_client_of_chain(chain, own, trust) for chain in chains if chain}
    if cloudflare:
        clients.add(_address(cloudflare))
    return _common_address(clients) if clients else own


def _common_address(clients: set[str | None]) -> str | None:
    """Return the address that the headers agree on; None, and a note, if there is none."""
    if len(clients) > 1:
        note_weakness("contradictory proxy headers")
        return None
    (address,) = clients
    if address is None:
        note_weakness("unusable IP addresses")
    return address


def _client_of_chain(chain: Sequence[str], peer: str | None, trust: Trust) -> str | None:
    """Return the visitor's address in *chain*, the addresses of a header from left to right.

    With two hops, the chain ``6.6.6.6, 203.0.113.5, 10.0.0.1`` gives ``203.0.113.5``: the proxy at
    10.0.0.1 wrote it, and the one next to the application wrote 10.0.0.1. A shorter chain was
    written by trusted proxies alone, so that its first address is the visitor's.
    """
    if trust.hops is not None:
        return _address(chain[-min(trust.hops, len(chain))])
    address = peer
    for text in reversed(chain):
        address = _address(text)
        if address is None or not trust.contains(address):
            return address
    return address


def _address(text: str) -> str | None:
    parsed = parsed_address(text.strip())
    return None if parsed is None else str(parsed)


def _chain(header: str) -> list[str]:
    """Return the entries of ``X-Forwarded-For``, at most 64, from the right."""
    entries = header[-_MAX_HEADER:].rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]
    return [entry for entry in map(str.strip, entries) if entry]


def _chain_of_forwarded(header: str) -> list[str]:
    """Return the ``for`` of each element of ``Forwarded``; ``""`` where there is none.

    ``for=6.6.6.6, for="[2001:db8::7]:4711";proto=https`` gives ``6.6.6.6`` and
    ``[2001:db8::7]:4711``. An element without an address, as of a proxy that hides it
    (``for=_hidden``), stays in its place, since it counts as a hop.
    """
    elements = header[-_MAX_HEADER:].rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]
    return [_for(element) for element in elements if element.strip()]


def _for(element: str) -> str:
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""
