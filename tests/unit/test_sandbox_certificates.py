"""What a client must be able to check: WhatsApp's chain, and the TLS certificate of every host."""

import ssl
import stat
from pathlib import Path

import pytest
import trio
import trio.testing

from bridge.protos import cert
from bridge.sandbox.certificates import HOSTS, MEDIA_HOST, TlsAuthority, chain
from bridge.sandbox.keys import KeyPair, xeddsa_verify


def test_each_certificate_of_the_chain_is_signed_by_the_one_above() -> None:
    root, leaf = KeyPair(), KeyPair()
    kind = cert.CertChain.NoiseCertificate.Details
    parsed = cert.CertChain.FromString(chain(root, leaf.public))
    intermediate = kind.FromString(parsed.intermediate.details)
    last = kind.FromString(parsed.leaf.details)
    assert xeddsa_verify(root.public, parsed.intermediate.details, parsed.intermediate.signature)
    assert xeddsa_verify(intermediate.key, parsed.leaf.details, parsed.leaf.signature)
    assert (intermediate.issuerSerial, last.issuerSerial) == (0, intermediate.serial)
    assert last.key == leaf.public
    assert last.notBefore < last.notAfter


async def _handshake(authority: TlsAuthority, client: ssl.SSLContext, host: str) -> bytes:
    near, far = trio.testing.memory_stream_pair()
    server_side = trio.SSLStream(near, authority.server_context(), server_side=True)
    client_side = trio.SSLStream(far, client, server_hostname=host)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server_side.send_all, b"hello")
            received = bytes(await client_side.receive_some(5))
    return received


@pytest.mark.parametrize("host", ["web.whatsapp.com", "mmg.whatsapp.net", "pps.whatsapp.net", MEDIA_HOST, "127.0.0.1"])
async def test_every_host_is_trusted_by_who_trusts_the_authority(host: str, tmp_path: Path) -> None:
    authority = TlsAuthority(tmp_path)
    assert await _handshake(authority, authority.client_context(), host) == b"hello"


async def test_nobody_else_trusts_it(tmp_path: Path) -> None:
    authority, other = TlsAuthority(tmp_path / "a"), TlsAuthority(tmp_path / "b")
    with pytest.RaisesGroup(pytest.RaisesExc(trio.BrokenResourceError), flatten_subgroups=True):
        await _handshake(authority, other.client_context(), HOSTS[0])


def test_a_restart_keeps_the_authority_and_the_certificate(tmp_path: Path) -> None:
    first = TlsAuthority(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert TlsAuthority(tmp_path).ca_file == first.ca_file
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(before) == {"ca.pem", "ca.key", "server.pem"}


def test_a_damaged_certificate_is_made_anew_under_the_same_authority(tmp_path: Path) -> None:
    ca_file = TlsAuthority(tmp_path).ca_file
    authority = ca_file.read_bytes()
    (tmp_path / "server.pem").write_bytes(b"half a certi")
    TlsAuthority(tmp_path).server_context()
    assert ca_file.read_bytes() == authority


def test_private_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    TlsAuthority(tmp_path)
    for name in ("ca.key", "server.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert b"PRIVATE" not in (tmp_path / "ca.pem").read_bytes()
