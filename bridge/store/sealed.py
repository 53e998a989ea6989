"""Opens and seals what endpoints keep secret, between the rows and the values of the repositories."""

from collections.abc import Mapping

import msgspec

from bridge.vault import NoMainKey, Vault

Headers = tuple[tuple[str, str], ...]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[str, str]]).decode


class Sealer:
    """A vault that knows which value belongs to which purpose; without one, secrets are neither stored nor read."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault

    @property
    def vault(self) -> Vault:
        if self._vault is None:
            raise NoMainKey
        return self._vault

    def seal_secret(self, endpoint: str, secret: bytes) -> bytes:
        return self.vault.seal(secret, _secret_of(endpoint))

    def secret(self, endpoint: str, stored: bytes) -> bytes:
        """Return the secret; raise `SecretUnreadable`."""
        return self.vault.open(bytes(stored), _secret_of(endpoint))

    def seal_headers(self, endpoint: str, headers: Mapping[str, str]) -> bytes | None:
        """Return the headers as they are stored, None when there are none."""
        return self.vault.seal(_encode(list(headers.items())), _headers_of(endpoint)) if headers else None

    def headers(self, endpoint: str, stored: bytes | None) -> Headers:
        """Return the headers; raise `SecretUnreadable`."""
        return () if stored is None else tuple(_decode(self.vault.open(bytes(stored), _headers_of(endpoint))))

    def again(self, endpoint: str, row: Mapping[str, bytes | None]) -> dict[str, bytes | None]:
        """Return the sealed columns of a row, sealed under the key of today; raise `SecretUnreadable`."""
        purposes = {
            "secret": _secret_of(endpoint),
            "old_secret": _secret_of(endpoint),
            "headers": _headers_of(endpoint),
        }
        return {name: self._again(row[name], purpose) for name, purpose in purposes.items()}

    def _again(self, stored: bytes | None, purpose: str) -> bytes | None:
        if stored is None or self.vault.current(bytes(stored)):
            return stored
        return self.vault.seal(self.vault.open(bytes(stored), purpose), purpose)


def _secret_of(endpoint: str) -> str:
    return f"endpoint/{endpoint}/secret"


def _headers_of(endpoint: str) -> str:
    return f"endpoint/{endpoint}/headers"
