"""Links that open one file for a while without a key: `?exp=<seconds since 1970>&sig=<HMAC-SHA256>`. Pure."""

import base64
import hashlib
import hmac
import secrets

SECRET_BYTES = 32


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


class Links:
    """Signs and checks. Who has the secret can open every file, so it never leaves the store."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def use(self, secret: bytes) -> None:
        """Sign and check with another secret from now on."""
        self._secret = secret

    def sign(self, path: str, expires_at: float) -> str:
        """Return `path` (with its leading slash) with a signature that opens it until `expires_at`."""
        exp = str(int(expires_at))
        return f"{path}?exp={exp}&sig={self._signature(path, exp)}"

    def opens(self, path: str, exp: str | None, sig: str | None, now: float) -> bool:
        """Say whether the parameters of a link open `path` at `now`."""
        if not exp or not sig or not (exp.isascii() and exp.isdigit()) or len(exp) > 12:
            return False
        if not hmac.compare_digest(self._signature(path, exp).encode(), sig.encode("utf-8", "replace")):
            return False
        return now < int(exp)

    def _signature(self, path: str, exp: str) -> str:
        digest = hmac.digest(self._secret, f"{path}\n{exp}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
