"""`python -m playlake` is `playlake`."""

import sys

from playlake.cli import main

sys.exit(main())
