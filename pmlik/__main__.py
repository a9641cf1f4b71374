"""``python -m pmlik``."""

import sys

from pmlik.command import main

if __name__ == "__main__":
    sys.exit(main())
