"""Makes the engine trust a sandbox instead of WhatsApp: in this process only, and only when it was told of a sandbox.

The library checks the server's certificate chain against a package variable of 32 bytes that stands once in its
writable memory. Writing the sandbox's root key over it means that this process accepts that sandbox as its server and
no other, the real WhatsApp included. So there is no way to reach this without the sandbox's own settings.
"""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from bridge.engine.wire import SandboxTrust

WHATSAPP_ROOT = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")
"""The public key that signs the certificates of WhatsApp's servers, as it stands in the library."""


class TrustRefused(Exception):
    """The trust anchor stays WhatsApp's:"""


def trust_sandbox(library: Path, sandbox: SandboxTrust | None) -> None:
    """Replace the trust anchor by the sandbox's root key; raise `TrustRefused` when anything is not as expected."""
    if sandbox is None:
        raise TrustRefused("this host was not told to use a sandbox")
    if not sandbox.proxy.startswith("http://"):
        raise TrustRefused("a sandbox is reached through its own proxy")
    if not sandbox.ca_file or os.environ.get("SSL_CERT_FILE") != sandbox.ca_file:
        raise TrustRefused("SSL_CERT_FILE does not name the sandbox's authority")
    root_key = bytes.fromhex(sandbox.root_key_hex)
    if len(root_key) != len(WHATSAPP_ROOT):
        raise TrustRefused("a root key has 32 bytes")
    addresses = find_anchor(library)
    if len(addresses) != 1:
        raise TrustRefused(f"the anchor was found {len(addresses)} times in the library's memory")
    ctypes.memmove(addresses[0], root_key, len(root_key))
    if ctypes.string_at(addresses[0], len(root_key)) != root_key:
        raise TrustRefused("the anchor did not change")


def find_anchor(library: Path) -> list[int]:
    """Return the addresses at which WhatsApp's key stands in the writable memory of the loaded library."""
    addresses = []
    for start, end in _writable(library.resolve()):
        memory = ctypes.string_at(start, end - start)
        at = memory.find(WHATSAPP_ROOT)
        while at >= 0:
            addresses.append(start + at)
            at = memory.find(WHATSAPP_ROOT, at + 1)
    return addresses


def _writable(library: Path) -> Iterator[tuple[int, int]]:
    """Yield start and end of the library's writable mappings in this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and "w" in fields[1] and fields[5] == str(library):
            start, _, end = fields[0].partition("-")
            yield int(start, 16), int(end, 16)
