"""What a report is about, and how its sections are asked."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxviz import data_parallel, images, labels
from jaxviz._core.sharding import DataParallel
from jaxviz.report._networks import Network, in_chunks, scores, softmax

Tick = Callable[[str], None]  # is told what has just been finished


class Measured(NamedTuple):
    """What a section found: numbers that JSON can hold, of which its text is made, and arrays for its pictures."""

    numbers: dict[str, Any]
    arrays: Any


class Photograph(NamedTuple):
    """One image that could be read."""

    stem: str
    file: str
    pixels: np.ndarray  # (h, w, 3) uint8
    label: int | None  # the class that its owner says it shows


class Study(NamedTuple):
    """What is looked at.

    Attributes:
        networks: one or more; what is done with one alone is done with the first.
        photographs: one or more, of the same size.
        targets: classes to fool every photograph into; chosen for each photograph where there are none.
        from_noise: classes to visualize from noise.
        from_photograph: classes to visualize from the first photograph.
        seed: of everything that is drawn at random.
        devices: where to work.
    """

    networks: Sequence[Network]
    photographs: Sequence[Photograph]
    targets: Sequence[int]
    from_noise: Sequence[int]
    from_photograph: Sequence[int]
    seed: int
    devices: Sequence[jax.Device]  # pyright: ignore[reportInvalidTypeForm]

    @property
    def size(self) -> int:
        """Examples of one call: every photograph once, filled up to the devices."""
        return -(-len(self.photographs) // len(self.devices)) * len(self.devices)

    @property
    def pixels(self) -> np.ndarray:
        """The photographs, (n, h, w, 3) uint8."""
        return np.stack([photograph.pixels for photograph in self.photographs])

    def keys(self, count: int) -> jax.Array:
        """So many keys of the seed."""
        return jax.random.split(jax.random.key(self.seed), count)

    def method(self, method: Callable[..., Any]) -> DataParallel[..., Any]:
        """One of jaxviz's methods over the devices."""
        return data_parallel(method, devices=self.devices)

    def scores(self, network: Network, pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Raw scores of pictures (n, h, w, 3) uint8, in chunks."""
        return in_chunks(self.method(scores), network.model, normalized(pictures), size=self.size)

    def probabilities(self, network: Network, pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Softmax of the scores."""
        return softmax(self.scores(network, pictures))


def normalized(pictures: ArrayLike | Sequence[np.ndarray]) -> jax.Array:
    """Pictures (n, h, w, 3) uint8 as the networks take them."""
    return images.from_uint8(jnp.asarray(np.asarray(pictures)))


def seen(probabilities: np.ndarray, index: int | None = None) -> dict[str, Any]:
    """Name and probability of a class, or of the most probable one."""
    index = int(probabilities.argmax()) if index is None else index
    return {"index": index, "name": labels.name(index), "probability": float(probabilities[index])}
