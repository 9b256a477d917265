"""The command `mixer`, and `python -m service`: what must be so before anything is imported."""

import gc
import os
import sys

gc.disable()  # what modules are made of lasts: a search for garbage there only takes time
# numpy multiplies no matrices here, and need not start a thread for each core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251  (set, not read)

from service.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
