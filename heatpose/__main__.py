"""Makes ``python -m heatpose`` the command line."""

import sys

from heatpose.cli import main

if __name__ == "__main__":
    sys.exit(main())
