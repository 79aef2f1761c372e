"""What a form gives its worker."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Prepared(NamedTuple):
    """`run` is timed and returns when the work is done; `arrays`, which is not, makes of it what is compared."""

    run: Callable[[], Any]
    arrays: Callable[[Any], dict[str, np.ndarray]]
