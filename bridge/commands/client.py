"""A small client of the bridge's HTTP API for the command line: the standard library alone, so that it starts fast.

Redirects are not followed and proxies of the environment not used: the key goes to the bridge and nowhere else.
"""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from bridge.errors import BridgeError

DEFAULT_URL = "http://127.0.0.1:4444"
TIMEOUT_S = 75.0
"""Longer than any call takes by itself."""
EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_REFUSED, EXIT_NOT_FOUND, EXIT_LATER, EXIT_UNKNOWN = 1, 2, 3, 4, 5, 6, 7


class CommandFailed(BridgeError):
    """The command failed."""

    exit_code = EXIT_FAILED

    def __init__(self, text: str, exit_code: int = EXIT_FAILED, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.args = (text,)
        self.exit_code = exit_code
        self.problem = problem or {"error": text}
        """What `--json` prints instead of an answer."""


@dataclass(frozen=True, slots=True)
class Client:
    """Where the bridge is, and the key that is sent with every call."""

    url: str = DEFAULT_URL
    key: str = ""

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON of an answer; raise `CommandFailed` for an error or when nobody answers."""
        asked = urlencode({name: value for name, value in (query or {}).items() if value is not None})
        status, raw = self._exchange(method, path + (f"?{asked}" if asked else ""), body, headers or {})
        try:
            answer = json.loads(raw)
        except ValueError:
            raise CommandFailed(f"{self.url} does not answer like a bridge (status {status}).") from None
        if status >= 400:
            raise _failure(status, answer)
        return answer

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, more: Mapping[str, str]
    ) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CommandFailed("BRIDGE_URL must be an http or https URL.", EXIT_USAGE)
        headers = {"Content-Type": "application/json", "User-Agent": "bridge-cli", **more}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, parts.path.rstrip("/") + path, data, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            text = f"No bridge answers at {self.url} ({error or type(error).__name__}); set BRIDGE_URL or --url."
            raise CommandFailed(text, EXIT_UNREACHABLE) from None
        except UnicodeError:
            raise CommandFailed("BRIDGE_API_KEY has a character that no key has.", EXIT_USAGE) from None
        finally:
            connection.close()


_EXITS: Mapping[int, int] = {401: EXIT_REFUSED, 403: EXIT_REFUSED, 404: EXIT_NOT_FOUND}


def _failure(status: int, problem: object) -> CommandFailed:
    if not isinstance(problem, dict) or "error" not in problem:
        return CommandFailed(f"The bridge answered with status {status}.")
    if problem.get("code") == "send_unknown" or problem.get("details", {}).get("certain") is False:
        exit_code = EXIT_UNKNOWN
    elif problem.get("retryable"):
        exit_code = EXIT_LATER
    else:
        exit_code = _EXITS.get(status, EXIT_FAILED)
    return CommandFailed(str(problem["error"]), exit_code, problem)
