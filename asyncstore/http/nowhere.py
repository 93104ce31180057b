"""Addresses at which nobody's storage is, but maybe a machine's own secrets. Pure.

Whoever is led by another's word, such as a hub's answer or a tenant's settings, asks here.
"""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data"})
_METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))


def numeric(host: str, /) -> IP | None:
    """Return the address that a host is by number, or `None` where it is a name."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def is_nowhere(host: str, /) -> bool:
    """Whether a host, by name or by number, is link-local, a metadata service or no one host."""
    ip = numeric(host)
    if ip is None:
        return host.rstrip(".").lower() in _HOSTS
    return ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip in _METADATA
