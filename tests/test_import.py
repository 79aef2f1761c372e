"""All that `import jaxviz` offers is light: no framework but JAX, nothing for people, no network."""

import subprocess
import sys

IMPORT = """
import socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("a socket was opened")

socket.socket.__init__ = refuse
import jaxviz

for name in jaxviz.__all__:  # each is imported when it is first used
    getattr(jaxviz, name)
heavy = {"flax", "matplotlib", "rich", "skimage", "torch", "torchvision", "typer"}
print(*sorted(heavy & sys.modules.keys()))
"""


def test_import_loads_no_other_framework_and_opens_no_socket():
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
