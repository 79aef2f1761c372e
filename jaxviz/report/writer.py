"""The driver of a report: measures topic by topic and network by network, and writes the page after each topic."""

import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from markupsafe import Markup

from jaxviz import images, labels
from jaxviz._core.files import replacing, stems
from jaxviz.report import page
from jaxviz.report.drawing import Drawing
from jaxviz.report.environment import environment
from jaxviz.report.network import Network
from jaxviz.report.study import Photo, Results, Study
from jaxviz.report.topics import TOPICS

Progress = Callable[[str, int, int, str], None]


def write(
    networks: Sequence[Network],
    paths: Sequence[images.PathLike],
    output: images.PathLike,
    *,
    classes: Sequence[int] = (),
    targets: Sequence[int] = (),
    from_noise: Sequence[int] = (76,),
    from_photograph: Sequence[int] = (113,),
    seed: int = 0,
    size: int = 224,
    resize: int = 256,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    quick: bool = False,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Answers the practical's eleven questions about these photographs: index.html, figures/*.png, report.json.

    The files are written again after each topic. Ctrl-C ends the report with the topics that are finished, and the
    page says so. The page and the result name the files that could not be read.

    Args:
        networks: one or more, as `load` returns them; some topics measure only the first.
        paths: image files.
        output: the folder to write to; it is made if it does not exist.
        classes: the class of each photograph, whose score the maps explain; by default the first network's prediction.
        targets: the classes to fool every photograph into; by default three are chosen for each photograph.
        from_noise: the classes to visualize from noise; by default, tarantula.
        from_photograph: the classes to visualize from the first photograph; by default, snail.
        seed: of everything that is random.
        size: side of the square that is cut out of each photograph, in pixels.
        resize: length of the shorter side before that.
        devices: those that compute; by default all of `jax.devices()`.
        quick: fewer targets, samples, iterations and settings, for a first look.
        settings: other settings of a topic, by its name, such as `{"visualization": {"num_steps": 20}}`.
        progress: called with a topic's title, the number of finished parts, the number of parts, and the next part.

    Returns:
        The content of report.json: "about", "sections" (each with "numbers" by network, "settings" and "cost") and
        "figures". "about" has, among others, "errors" (one for each file that could not be read) and "interrupted".

    Raises:
        ValueError: no file could be read; unknown settings; `classes` does not match `paths`.
        OSError: the folder cannot be written.
    """
    options = _options(quick, settings or {})
    if not from_noise or not from_photograph:
        raise ValueError("`from_noise` and `from_photograph` must each be one class or more.")
    folder = Path(output)
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    photos, errors = _read([Path(path) for path in paths], classes, size, resize)
    devices = tuple(devices or jax.devices())
    everywhere = jax.NamedSharding(jax.sharding.Mesh(np.array(devices), ("batch",)), jax.P())
    networks = [network._replace(model=jax.device_put(network.model, everywhere)) for network in networks]
    study = Study(networks, photos, targets, from_noise, from_photograph, seed, devices)
    about: dict[str, Any] = {
        "interrupted": False,
        "quick": quick,
        "errors": errors,
        "photographs": [{"name": photo.name, "file": Path(photo.file).name} for photo in photos],
        "networks": [{"name": n.name, "source": n.source, "sha256": n.sha256} for n in networks],
        "seed": seed,
        "size": [size, resize],
        "targets": [labels.name(index) for index in targets],
        "environment": environment(),
    }
    record: dict[str, Any] = {"about": about, "sections": {}, "figures": {}}
    jinja, done, sections = page.environment(), {}, []

    def publish(status: str = "") -> None:
        missing = "; ".join(topic.TITLE for key, topic in TOPICS.items() if key not in record["sections"])
        context = {"costs": [section["cost"] for section in record["sections"].values()], "about": about}
        html = jinja.get_template("page.html").render(
            sections=sections, status=status and f"{status}{missing}.", **context
        )
        for name, text in (("index.html", html), ("report.json", json.dumps(record, indent=1, allow_nan=False))):
            with replacing(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")

    try:
        for key, topic in TOPICS.items():
            publish("This report is not finished yet. Still to come: ")
            start, processor_start = time.perf_counter(), time.process_time()
            done[key], figures = _measure(study, topic, done, options[key], folder, record["figures"], progress)
            numbers = done[key].numbers
            context = {"numbers": numbers, "figures": figures, "settings": options[key], "all_settings": options}
            context |= {"about": about, "explained": study.explained(done)}
            for name, (question, title) in topic.PAGES.items():
                heading = {"name": name, "question": question, "title": title}
                markup = jinja.get_template(f"{name}.html").render(**heading, **context)
                sections.append({**heading, "markup": Markup(markup)})
            cost = {"seconds": time.perf_counter() - start, "processor_seconds": time.process_time() - processor_start}
            record["sections"][key] = {"numbers": numbers, "settings": options[key], "cost": cost}
    except KeyboardInterrupt:
        about["interrupted"] = True
        publish("Interrupted. The sections below are finished. Missing: ")
    else:
        publish()
    return record


def _measure(study, topic, done, options, folder, written, progress) -> tuple[Results, dict[str, Any]]:
    """The topic's results and figures, by network."""
    results, figures, count = Results({}, {}), {}, len(study.networks)
    for place, network in enumerate(study.networks):
        if progress is not None:
            progress(topic.TITLE, place, count, network.name)
        measured = topic.measure(study, network, done, **options)
        if measured is None:  # the topic has nothing to say of this network
            continue
        numbers, arrays = results.numbers[network.name], results.arrays[network.name] = measured
        if hasattr(topic, "figures"):
            drawing = Drawing(folder, written, place + 1)
            figures[network.name] = topic.figures(study, network, numbers, arrays, drawing)
    if progress is not None:
        progress(topic.TITLE, count, count, "")
    return results, figures


def _options(quick: bool, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """All settings of each topic: the defaults of `measure`, those of a quick report, and the given ones."""
    options = {}
    for key, topic in TOPICS.items():
        parameters = inspect.signature(topic.measure).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
        options[key] = {**defaults, **(getattr(topic, "QUICK", {}) if quick else {})}
    for key, given in settings.items():
        unknown = [name for name in given if name not in options.get(key, {})]
        if key not in options or unknown:
            known = {key: sorted(names) for key, names in options.items() if names}
            raise ValueError(f"`settings` has an unknown entry, {key!r}: {unknown}; known are {known}.")
        options[key] |= given
    return options


def _read(paths, classes, size, resize) -> tuple[list[Photo], list[dict[str, str]]]:
    if not paths:
        raise ValueError("`paths` is empty; give at least one image file.")
    if classes and len(classes) != len(paths):
        raise ValueError(f"`classes` must be one for each of the {len(paths)} images, or none, got {len(classes)}.")
    photos, errors = [], []
    for path, name, label in zip(paths, stems(paths), classes or [None] * len(paths), strict=True):
        try:
            pixels = images.to_uint8(images.load(path, size=size, resize=resize)[0])
        except (ValueError, OSError) as error:
            errors.append({"file": str(path), "error": str(error)})
        else:
            photos.append(Photo(name, str(path), jax.device_get(pixels), label))
    if not photos:
        raise ValueError("; ".join(error["error"] for error in errors))
    return photos, errors
