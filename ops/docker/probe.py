#!/usr/local/bin/python3 -IS
"""Asks a service in its own container how it is: `probe URL` ends with 0 when the answer is 2xx, else with 1.

Slim images have no curl; without `site` this starts in a fraction of the time.
"""

import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

TIMEOUT_S = 4


def main(url: str) -> int:
    """Ask once; return the exit status."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
    except (OSError, HTTPException) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1
    print(response.status, response.read(500).decode(errors="replace"))
    return 0 if 200 <= response.status < 300 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
