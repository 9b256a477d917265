"""A start on its own: the web framework is imported while models load, and keys are read first."""

import subprocess
import sys


def test_models_load_before_the_web_framework_is_there() -> None:
    """Else they would wait for it: a third of a second of every start."""
    code = "import service.cli, service.single, sys; print('fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
