"""`python -m model_store`: the command line of the model store."""

import sys

from model_store.cli import main

sys.exit(main())
