"""`jaxviz export`: writes a method and a network to one file that runs with JAX alone, on any platform.

The file is NumPy's .npz: `program`, a serialized `jax.export` for any number of images; `weights/NAME`, the network's
arrays, named as in its weight files; `settings/NAME`, the method's numeric settings, passed by keyword; `about`, JSON.
"""

import importlib.metadata
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from jaxviz import images as image_space
from jaxviz import weights as sources
from jaxviz._core.files import cannot_write, replacing
from jaxviz._methods.class_visualization import class_visualizations
from jaxviz._methods.fooling import fooling_images
from jaxviz._methods.saliency import saliency_maps

PLATFORMS = ("cpu", "cuda", "tpu")
_SPACE = f"RGB over 255, minus {image_space.IMAGENET_MEAN}, over {image_space.IMAGENET_STD}"
_TABLES = "weights/", "settings/"
_OPTION = inspect.Parameter.KEYWORD_ONLY

Shape = jax.ShapeDtypeStruct


class Form(NamedTuple):
    """A method as a function of only arrays.

    Attributes:
        program: (model, *inputs, **settings) -> results, as arrays or dicts of arrays.
        inputs: shapes and types by name, in order; the first dimension is the batch, except for a key.
        settings: default values by name.
    """

    program: Callable[..., Any]
    inputs: dict[str, Shape]
    settings: dict[str, np.ndarray]


def _saliency(n: Any, size: int) -> Form:
    return Form(saliency_maps, {"images": _images(n, size), "labels": Shape((n,), jnp.int32)}, {})


def _fool(n: Any, size: int, *, lanes: int | None = None, levels: bool = True) -> Form:
    images = _images(n, size)

    def program(model: Any, *inputs: Any, bounds: Any, **settings: Any) -> dict[str, Any]:
        return fooling_images(model, *inputs, bounds=tuple(bounds), lanes=lanes, **settings)._asdict()

    settings = _defaults(fooling_images, "step_size", "max_steps") | {"confidence": np.zeros((), np.float32)}
    if levels:
        settings["levels"] = np.asarray(256, np.int32)
    return Form(program, {"images": images, "targets": Shape((n,), jnp.int32)}, settings | _bounds())


def _visualize(n: Any, size: int, *, num_steps: int = 200, init_images: bool = False) -> Form:
    inputs = {"targets": Shape((n,), jnp.int32), "key": jax.eval_shape(lambda: jax.random.key(0))}
    if init_images:
        inputs["init_images"] = _images(n, size)

    def program(model: Any, targets: Any, key: Any, *start: Any, bounds: Any, **settings: Any) -> dict[str, Any]:
        made = class_visualizations(
            model,
            targets,
            key=key,
            init_images=start[0] if init_images else None,
            image_shape=(size, size, 3),
            num_steps=num_steps,
            bounds=tuple(bounds),
            **settings,
        )
        return {"images": made.images, "scores": made.scores}

    numbers = ("step_size", "l2_weight", "max_jitter", "blur_every", "blur_sigma")
    return Form(program, inputs, _defaults(class_visualizations, *numbers) | _bounds())


FORMS: dict[str, Callable[..., Form]] = {"saliency": _saliency, "fool": _fool, "visualize": _visualize}


def _images(n: Any, size: int) -> Shape:
    return Shape((n, size, size, 3), jnp.float32)


def _defaults(method: Callable[..., Any], *names: str) -> dict[str, np.ndarray]:
    parameters = inspect.signature(method).parameters

    def number(value: float | int) -> np.ndarray:
        return np.asarray(value, np.int32 if isinstance(value, int) else np.float32)

    return {name: number(parameters[name].default) for name in names}


def _bounds() -> dict[str, np.ndarray]:
    return {"bounds": np.stack(image_space.IMAGENET_BOUNDS)}


def write(
    file: Path, method: str, network: str, *, weights: str | None = None, size: int = 224, **options: Any
) -> dict[str, Any]:
    """Writes the file completely or not at all.

    Args:
        file: replaced if it exists.
        method: "saliency", "fool" or "visualize".
        network: `name` of `load_model`.
        weights: `weights` of `load_model`.
        size: side of the images, in pixels.
        options: other compiled-in options: `lanes` and `levels` (whether to round to 8 bits) of "fool"; `num_steps` and
            `init_images` (whether to start from given images) of "visualize".

    Returns:
        The file's `about`.

    Raises:
        ValueError: an option of another method, or out of range; errors of `load_model`.
        OSError: the file cannot be written.
    """
    parameters = inspect.signature(FORMS[method]).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters if parameter.kind is _OPTION}
    for name in options:
        if name not in defaults:
            raise ValueError(f"`{name}` is no option of {method}, which has {', '.join(['size', *defaults])}.")
    loaded = sources.find(network, weights)
    names, leaves, structure = sources.by_name(sources.filled(loaded, jnp.float32))
    form = FORMS[method](*jax.export.symbolic_shape("n"), size, **options)
    arrays = dict(zip(names, leaves, strict=True))
    config: Any = jax.config  # its attributes are created at run time
    exported = export(form, structure, arrays)
    about = {
        "method": method,
        "model": network,
        "weights": {"source": loaded.source, "source_sha256": loaded.source_sha256},
        "options": {"size": size, **defaults, **options},
        "call": f"program({', '.join(['weights', *form.inputs, *(f'{name}=' for name in form.settings)])})",
        "inputs": {name: _said(shape) for name, shape in form.inputs.items()},
        "settings": {name: value.tolist() for name, value in form.settings.items()},
        "results": jax.tree.map(_said, jax.tree.unflatten(exported.out_tree, exported.out_avals)),
        "images": _SPACE,
        "platforms": exported.platforms,
        "matmul_precision": config.jax_default_matmul_precision or "default",
        "calling_convention_version": exported.calling_convention_version,
        "versions": {name: importlib.metadata.version(name) for name in ("jaxviz", "jax")},
    }
    content = {"program": np.frombuffer(exported.serialize(), np.uint8), "about": np.array(json.dumps(about))}
    content |= {f"weights/{name}": np.asarray(leaf) for name, leaf in arrays.items()}
    content |= {f"settings/{name}": value for name, value in form.settings.items()}
    try:
        with replacing(file) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **content)
    except OSError as error:
        raise cannot_write(file.parent, error) from error
    return about


def export(form: Form, structure: Any, arrays: dict[str, Any]) -> jax.export.Exported:
    """Exports the program of (weights, *inputs, **settings); weights is a dict by name.

    Args:
        form: the method.
        structure: the network's tree structure.
        arrays: its leaves by name, in order; arrays or shapes.
    """

    def program(weights: dict[str, Any], *inputs: Any, **settings: Any) -> Any:
        return form.program(structure.unflatten([weights[name] for name in arrays]), *inputs, **settings)

    shapes = {name: Shape(leaf.shape, leaf.dtype) for name, leaf in arrays.items()}
    settings = {name: Shape(value.shape, value.dtype) for name, value in form.settings.items()}
    exporting = jax.export.export(jax.jit(program), platforms=PLATFORMS)
    return exporting(shapes, *form.inputs.values(), **settings)


def _said(shape: Any) -> str:
    return f"{shape.dtype}[{', '.join(map(str, shape.shape))}]"


def script(file: Path, about: dict[str, Any]) -> str:
    """A script that runs the file on grey images; the user replaces these."""
    inputs = list(about["inputs"])
    size = about["options"]["size"]
    examples = {
        "images": f"jax.numpy.zeros((2, {size}, {size}, 3))  # {_SPACE}",
        "init_images": f"jax.numpy.zeros((2, {size}, {size}, 3))  # {_SPACE}",
        "labels": "jax.numpy.array([281, 282])",
        "targets": "jax.numpy.array([6, 76])",
        "key": "jax.random.key(0)",
    }
    lines = [
        f"# Runs {file.name}; needs jax and flatbuffers.",
        "import jax",
        "",
        f"file = jax.numpy.load({json.dumps(str(file))})",
        'program = jax.jit(jax.export.deserialize(bytearray(file["program"])).call)',
        *(
            f'{table[:-1]} = jax.device_put({{name.removeprefix("{table}"): file[name] for name in file '
            f'if name.startswith("{table}")}})'
            for table in _TABLES
        ),
        "",
        *(f"{name} = {examples[name]}" for name in inputs),
        f"result = program(weights, {', '.join(inputs)}, **settings)",
        "print(jax.tree.map(jax.typeof, result))",
    ]
    return "\n".join(lines)
