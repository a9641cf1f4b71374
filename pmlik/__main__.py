"""``python -m pmlik``."""

import sys

from pmlik.cli import main

if __name__ == "__main__":
    sys.exit(main())
