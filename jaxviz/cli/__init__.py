"""The command `jaxviz` (extra `app`)."""

import gc
import os
import sys

_NEEDS_APP = 'The command `jaxviz` needs the extra `app` ({}): pip install "jaxviz[app]"'

try:
    from jaxviz.cli import console
    from jaxviz.cli.commands import app
except ImportError as error:
    raise SystemExit(_NEEDS_APP.format(error)) from error


def main() -> None:
    """Runs the command; an error that the user can fix is one line, not a traceback."""
    # Imports and tracing create a million objects that stay. The search for garbage among them, by Python's defaults
    # and at exit, took 0.5 of 2.6 s of `jaxviz saliency`.
    gc.set_threshold(20_000, 50, 100)
    try:
        app()
    except SystemExit as end:
        if end.code == console.INTERRUPTED:
            # XLA continues to compile after the interrupt (jaxlib 0.10). A normal exit of Python would wait for it,
            # possibly for minutes, and then often crash.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(console.INTERRUPTED)
        raise
    except ModuleNotFoundError as error:  # a package of the extra, imported inside a command
        console.fail(_NEEDS_APP.format(error))
        raise SystemExit(1) from error
    except (ValueError, IndexError, ImportError, OSError) as error:
        console.fail(str(error))
        raise SystemExit(1) from error
    finally:
        gc.freeze()
