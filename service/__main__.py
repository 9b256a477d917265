"""`python -m service` is `mixer`."""

import sys

from service.cli import main

sys.exit(main())
