"""What a report is about, and how a method is run on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from scipy.special import softmax

from jaxviz import data_parallel, images, labels
from jaxviz._core.model import Model
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples
from jaxviz.report.network import Network


class Photo(NamedTuple):
    """One image that could be read."""

    name: str
    file: str
    pixels: np.ndarray  # (h, w, 3) uint8
    label: int | None  # the class that the user gave


class Results(NamedTuple):
    """The results of one topic, by the network's name: JSON for the page's text, arrays for its figures."""

    numbers: dict[str, Any]
    arrays: dict[str, Any]


class Study(NamedTuple):
    """The subject of a report: networks, photographs of one size, classes, and the devices that compute."""

    networks: Sequence[Network]
    photos: Sequence[Photo]
    targets: Sequence[int]  # to fool every photograph into; empty to choose targets for each photograph
    from_noise: Sequence[int]  # classes to visualize
    from_photograph: Sequence[int]
    seed: int
    devices: Sequence[jax.Device]  # pyright: ignore[reportInvalidTypeForm]

    @property
    def pixels(self) -> np.ndarray:
        """The photographs, (n, h, w, 3) uint8."""
        return np.stack([photo.pixels for photo in self.photos])

    @property
    def captioned(self) -> list[tuple[np.ndarray, str]]:
        """The photographs with their names, as pictures to draw."""
        return [(photo.pixels, photo.name) for photo in self.photos]

    def explained(self, done: Mapping[str, Results]) -> list[dict[str, Any]]:
        """The class that is explained for each photograph: the given one, or the first network's prediction."""
        return [record["explained"] for record in done["photographs"].numbers[self.networks[0].name]]

    def labels(self, done: Mapping[str, Results]) -> np.ndarray:
        """The indices of the classes that are explained."""
        return np.array([record["index"] for record in self.explained(done)])

    def run(
        self,
        method: Callable[..., Any],
        model: Any,
        *examples: Any,
        at_once: int | None = None,
        each: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Any:
        """`method(model, *examples, **settings)` as NumPy arrays, in chunks of one size: one program serves any number.

        `at_once` is the number of examples in a chunk, rounded up to fill the devices: by default one for each CPU
        device, and as many as there are photographs for other devices. The last chunk repeats its last example.
        `each` has the settings with one value, or key, for each example; `settings` are the same for all.
        """
        count, devices = len(examples[0]), len(self.devices)
        wanted = at_once or (1 if self.devices[0].platform == "cpu" else len(self.photos))
        size = -(-wanted // devices) * devices
        parallel, chunks = data_parallel(method, devices=self.devices), []
        examples = tuple(jnp.asarray(array) for array in examples)
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1)
            own = {name: values[rows] for name, values in (each or {}).items()}
            chunks.append(parallel(model, *(array[rows] for array in examples), **own, **settings))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *jax.device_get(chunks))

    def probabilities(self, network: Network, pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Softmax of the scores of pictures (n, h, w, 3) uint8, (n, 1000)."""
        return softmax(self.run(scores, network.model, normalized(pictures)).astype(np.float64), axis=-1)


@jit_over_examples()
def scores(model: Model, images: Float[Array, "n h w c"]) -> Float[Array, "n k"]:
    """Raw scores of a batch, split over the devices as in the methods."""
    return map_examples(lambda image: model(image[None])[0], images)


def normalized(pictures: ArrayLike | Sequence[np.ndarray]) -> jax.Array:
    """Pictures (n, h, w, 3) uint8 as the networks take them."""
    return images.from_uint8(jnp.asarray(np.asarray(pictures)))


def prediction(probabilities: np.ndarray, index: SupportsIndex | None = None) -> dict[str, Any]:
    """Index, name and probability of a class; of the most probable one for None."""
    index = int(probabilities.argmax()) if index is None else int(index)
    return {"index": index, "name": labels.name(index), "probability": float(probabilities[index])}
