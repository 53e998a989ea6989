"""Makes `python -m receiver` the same as the command `receiver`."""

import sys

from receiver.cli import main

if __name__ == "__main__":
    sys.exit(main())
