"""The maps of the commands `saliency` and `cam`, each (n, h, w), of the images' size."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxviz._core.arguments import Labels
from jaxviz._core.model import Model
from jaxviz._methods.cam import Variant, grad_cam
from jaxviz._methods.integrated_gradients import integrated_gradients
from jaxviz._methods.occlusion import occlusion
from jaxviz._methods.rise import rise
from jaxviz._methods.saliency import saliency_maps
from jaxviz._methods.smooth_grad import smooth_grad
from jaxviz._rewrite.layers import split
from jaxviz._rewrite.relu_rules import relu_rule
from jaxviz.cli.options import MapName

Images = Float[Array, "n h w c"]
Maps = Float[Array, "n h w"]
Method = Callable[..., Maps]  # of (model, images, labels)


def method_of(name: MapName, *, seed: int) -> Method:
    """The method with its default settings. An image's noise depends on the seed, not on the other images."""

    def keys(images: Images) -> Array:
        return jnp.stack([jax.random.fold_in(jax.random.key(seed), 0)] * len(images))

    def smooth(model: Model, images: Images, labels: Labels) -> Maps:
        return smooth_grad(model, images, labels, key=keys(images))

    def integrated(model: Model, images: Images, labels: Labels) -> Maps:
        return jnp.abs(integrated_gradients(model, images, labels).sum(-1))

    def guided(model: Model, images: Images, labels: Labels) -> Maps:
        return saliency_maps(relu_rule(model, "guided"), images, labels)

    def occluded(model: Model, images: Images, labels: Labels) -> Maps:
        return resized(jax.nn.relu(occlusion(model, images, labels)), images)

    def masked(model: Model, images: Images, labels: Labels) -> Maps:
        maps = rise(model, images, labels, key=keys(images))
        return maps - maps.min((1, 2), keepdims=True)  # every pixel has the mean probability in common

    return {
        MapName.gradient: saliency_maps,
        MapName.smooth: smooth,
        MapName.integrated: integrated,
        MapName.guided: guided,
        MapName.occlusion: occluded,
        MapName.rise: masked,
    }[name]


def cam_of(layer: str, *, variant: Variant) -> Method:
    """The class activation map of a layer, resized to the images."""

    def cam(model: Model, images: Images, labels: Labels) -> Maps:
        features, head = split(model, images, layer)
        activations = features(images)
        if activations.ndim != 4:
            raise ValueError(
                f"`--layer` {layer!r} has shape {activations.shape}, not (n, h, w, c), so it has no map; see "
                f"`jaxviz layers`."
            )
        return resized(grad_cam(head, activations, labels, variant=variant), images)

    return cam


def resized(maps: Float[Array, "n rows columns"], images: Images) -> Maps:
    """The maps in the images' size, with linear interpolation."""
    return jax.image.resize(maps, images.shape[:3], "linear")
