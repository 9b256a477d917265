"""The command `mixer`, and `python -m service`: what must be so before anything is imported."""

import gc
import os
import sys

gc.disable()  # what modules are made of lasts: a search for garbage there only takes time
# numpy multiplies no matrices here, and need not start a thread for each core; pydantic need not
# look through all that is installed for plugins of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # noqa: TID251  (set, not read)
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # noqa: TID251

from service.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
