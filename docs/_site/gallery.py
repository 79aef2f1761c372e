"""Writes the pictures of `docs/gallery.md` and `docs/layers.md` to docs/gallery: `python docs/_site/gallery.py`."""

import os
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

import jaxviz
from jaxviz.figures import cam_picture, difference_picture, saliency_picture
from jaxviz.images import IMAGENET_BOUNDS, from_uint8, to_uint8

jax.config.update("jax_num_cpu_devices", os.cpu_count())  # each core is a device for data_parallel

FOLDER = Path(__file__).parents[1] / "gallery"
CHANNELS = {"fires/0/expand3x3": (5, 30), "fire5": (3, 12, 100), "fires/7/expand3x3": (7, 36, 99)}
ADAM = optax.adam(0.05)


def save(name: str, *pictures: Any) -> None:
    """Pictures side by side; several rows where a picture is a list."""
    rows = pictures if isinstance(pictures[0], list) else [pictures]
    image = np.concatenate([np.concatenate([np.asarray(picture) for picture in row], axis=1) for row in rows])
    Image.fromarray(image).save(FOLDER / f"{name}.jpg", quality=85)


def main() -> None:
    """Computes and writes all pictures."""
    FOLDER.mkdir(exist_ok=True)
    key = jax.random.key(0)
    model = jaxviz.load_model("squeezenet1_1")
    files = [resources.files("skimage.data") / f"{name}.png" for name in ("chelsea", "coffee", "astronaut")]
    images = jaxviz.images.load(files)
    image, photograph = images[:1], to_uint8(images[0])
    labels = [int(model(image)[0].argmax())]
    stingray, tarantula, snail = (jaxviz.labels.find(name) for name in ("stingray", "tarantula", "snail"))

    def on_image(maps: Any) -> Any:
        return jax.image.resize(jax.nn.relu(maps), (1, 224, 224), "linear")

    features, head = jaxviz.split(model, image, "fire9")
    cam = on_image(jaxviz.grad_cam(head, features(image), labels))
    maps: dict[str, Callable[[], Any]] = {
        "saliency_maps": lambda: jaxviz.saliency_maps(model, image, labels),
        "smooth_grad": lambda: jaxviz.smooth_grad(model, image, labels, key=key),
        "integrated_gradients": lambda: jnp.abs(jaxviz.integrated_gradients(model, image, labels).sum(-1)),
        "expected_gradients": lambda: jnp.abs(
            jaxviz.expected_gradients(model, image, labels, baselines=images[1:], key=key, num_samples=200).sum(-1)
        ),
        "guided": lambda: jaxviz.saliency_maps(jaxviz.relu_rule(model, "guided"), image, labels),
        "deconv": lambda: jaxviz.saliency_maps(jaxviz.relu_rule(model, "deconv"), image, labels),
        "occlusion": lambda: on_image(jaxviz.occlusion(model, image, labels, stride=8)),
        "rise": lambda: (lambda maps: maps - maps.min())(jaxviz.rise(model, image, labels, key=key, num_masks=4000)),
    }
    for name, method in maps.items():
        save(name, photograph, saliency_picture(method()[0]))
    save("grad_cam", photograph, cam_picture(photograph, cam[0]))

    fooled = jaxviz.fooling_images(model, image, [stingray], bounds=IMAGENET_BOUNDS, levels=256).images
    save(
        "fooling_images", photograph, to_uint8(fooled[0]), difference_picture(photograph, to_uint8(fooled[0]), gain=10)
    )
    mean, std = (jnp.array(values) for values in (jaxviz.images.IMAGENET_MEAN, jaxviz.images.IMAGENET_STD))
    of_pixels = jax.tree_util.Partial(lambda model, pixels: model((pixels - mean) / std), model)
    options = {"epsilon": 2 / 255, "targeted": True, "bounds": (0, 1)}
    attacked = jaxviz.pgd(of_pixels, photograph[None] / jnp.float32(255), [stingray], **options)
    attacked = to_uint8(from_uint8(jnp.round(attacked * 255).astype(jnp.uint8))[0])
    save("pgd", photograph, attacked, difference_picture(photograph, attacked, gain=10))

    visualize = jaxviz.data_parallel(jaxviz.class_visualizations)
    fourier = {"parametrization": jaxviz.fourier(), "optimizer": ADAM, "l2_weight": 0}
    phase = {"parametrization": jaxviz.maco(), "optimizer": optax.adam(1.0), "l2_weight": 0}
    pictures = lambda result: [to_uint8(image) for image in result.images]  # noqa: E731
    save("class_visualizations", *pictures(visualize(model, [tarantula], key=key, bounds=IMAGENET_BOUNDS)))
    save("fourier", *pictures(visualize(model, [tarantula], key=key, **fourier)))
    save("maco", *pictures(visualize(model, [tarantula, snail], key=key, **phase)))
    above, below = [], []
    for layer, channels in CHANNELS.items():

        def unit(model: Any, images: Any, layer: str = layer) -> Any:
            return jaxviz.capture(model, images, [layer])[layer].mean((1, 2))

        subject = jax.tree_util.Partial(unit, model)
        above += pictures(visualize(subject, channels, key=key, num_steps=128, **fourier))
        below += pictures(visualize(subject, channels, key=key, num_steps=128, bounds=IMAGENET_BOUNDS))
    half = [[np.asarray(picture)[::2, ::2] for picture in row] for row in (above, below)]
    save("channels", *half)


if __name__ == "__main__":
    main()
