"""A report, section by section: measured, drawn, written, so that what is finished is there whatever happens."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxviz import images, labels
from jaxviz._core.files import replacing, stems
from jaxviz.report import _cost, _page
from jaxviz.report._blocks import Files, Section
from jaxviz.report._networks import Network
from jaxviz.report._steps import STEPS
from jaxviz.report._study import Measured, Photograph, Study

Progress = Callable[[str, int, int, str], None]

_TARANTULA, _SNAIL = 76, 113


def write(
    networks: Sequence[Network],
    paths: Sequence[images.PathLike],
    output: images.PathLike,
    *,
    classes: Sequence[int] = (),
    targets: Sequence[int] = (),
    from_noise: Sequence[int] = (_TARANTULA,),
    from_photograph: Sequence[int] = (_SNAIL,),
    seed: int = 0,
    size: int = 224,
    resize: int = 256,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Answers the practical's eleven questions about these photographs: index.html, figures/*.png, report.json.

    The files are written again after each section. Ctrl-C ends the report with the sections that are finished, and the
    page says so.

    Args:
        networks: one or more, as `load` returns them; what is done with one alone is done with the first.
        paths: image files. One that cannot be read is left out; the page and the result name it.
        output: a folder, made if need be.
        classes: what each photograph shows, whose score the maps explain; without, what the first network sees.
        targets: classes to fool every photograph into; without, three are chosen for each photograph.
        from_noise: classes to visualize from noise.
        from_photograph: classes to visualize from the first photograph.
        seed: of everything that is drawn at random.
        size: side of the square that is cut out of each photograph, in pixels.
        resize: length of its shorter side before that.
        devices: where to work; all of `jax.devices()` without.
        settings: other settings of a section, by its name, such as `{"visualization": {"num_steps": 20}}`.
        progress: called with a section's title, the parts of it that are done, how many there are, and the last one.

    Returns:
        What report.json holds: "sections" with "numbers", "settings" and "cost", "figures", "networks", "environment",
        "errors" (one for each file that could not be read), "interrupted".

    Raises:
        ValueError: no file could be read; unknown settings; as many classes as paths are needed.
        OSError: the folder cannot be written.

    Example:
        >>> from jaxviz import report
        >>> report.write(report.load(["squeezenet1_1"]), ["missing.jpg"], "out")  # doctest: +SKIP
    """
    settings = _checked(settings or {})
    if not from_noise or not from_photograph:
        raise ValueError("`from_noise` and `from_photograph` must each be one class or more.")
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    photographs, errors = _read([Path(path) for path in paths], classes, size, resize)
    devices = tuple(devices or jax.devices())
    everywhere = jax.NamedSharding(jax.sharding.Mesh(np.array(devices), ("batch",)), jax.P())
    networks = [network._replace(model=jax.device_put(network.model, everywhere)) for network in networks]
    study = Study(networks, photographs, targets, from_noise, from_photograph, seed, devices)
    files, sections = Files(folder), []
    done: dict[str, Measured] = {}
    about: dict[str, Any] = {
        "interrupted": False,
        "errors": errors,
        "photographs": [{"name": each.stem, "file": Path(each.file).name} for each in photographs],
        "networks": [{"name": n.name, "source": n.source, "sha256": n.sha256} for n in networks],
        "seed": seed,
        "size": [size, resize],
        "targets": [labels.name(index) for index in targets],
        "environment": _cost.environment(),
        "costs": [],
    }
    record: dict[str, Any] = {"about": about, "sections": {}, "figures": files.written}
    try:
        for place, step in enumerate(STEPS):
            left = [each.module.TITLE for each in STEPS[place:]]
            _publish(folder, record, sections, status=f"This report is still being made; to come: {'; '.join(left)}.")
            options = settings.get(step.key, {})
            with _cost.measured() as cost:
                measured = _measure(study, done, step, options, progress)
                done[step.key] = measured
                made = [page(study, measured.numbers, measured.arrays, files) for page in step.pages]
            sections += made
            about["costs"].append({"title": step.module.TITLE, **cost})
            record["sections"][step.key] = {
                "numbers": measured.numbers,
                "settings": _in_full(step, options),
                "cost": cost,
            }
    except KeyboardInterrupt:
        about["interrupted"] = True
        left = [each.module.TITLE for each in STEPS if each.key not in record["sections"]]
        _publish(
            folder,
            record,
            sections,
            status=f"Interrupted: what follows is finished, these are missing: {'; '.join(left)}.",
        )
        return record
    _publish(folder, record, sections, status=None)
    return record


def _measure(
    study: Study, done: Mapping[str, Measured], step: Any, options: Mapping[str, Any], progress: Progress | None
) -> Measured:
    finished, parts = 0, step.module.parts(study)

    def tick(what: str) -> None:
        nonlocal finished
        finished += 1
        if progress is not None:
            progress(step.module.TITLE, finished, parts, what)

    if progress is not None:
        progress(step.module.TITLE, 0, parts, "")
    return step.module.measure(study, done, tick=tick, **options)


def _checked(settings: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    known = {step.key: _defaults(step) for step in STEPS}
    for key, options in settings.items():
        for name in options if key in known else [None]:
            if key not in known or name not in known[key]:
                all_of_them = {step: sorted(names) for step, names in known.items() if names}
                raise ValueError(f"`settings` has an unknown entry, {key!r}: {name!r}; known are {all_of_them}.")
    return settings


def _defaults(step: Any) -> dict[str, Any]:
    parameters = inspect.signature(step.module.measure).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def _in_full(step: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**_defaults(step), **options}


def _read(
    paths: Sequence[Path], classes: Sequence[int], size: int, resize: int
) -> tuple[list[Photograph], list[dict[str, str]]]:
    if not paths:
        raise ValueError("`paths` is empty; give at least one image file.")
    if classes and len(classes) != len(paths):
        raise ValueError(f"`classes` must be one for each of the {len(paths)} images, or none, got {len(classes)}.")
    photographs, errors = [], []
    for path, stem, label in zip(paths, stems(paths), classes or [None] * len(paths), strict=True):
        try:
            pixels = images.to_uint8(images.load(path, size=size, resize=resize)[0])
        except (ValueError, OSError) as error:
            errors.append({"file": str(path), "error": str(error)})
        else:
            photographs.append(Photograph(stem, str(path), jax.device_get(pixels), label))
    if not photographs:
        raise ValueError("; ".join(error["error"] for error in errors))
    return photographs, errors


def _publish(folder: Path, record: dict[str, Any], sections: Sequence[Section], *, status: str | None) -> None:
    _page.write(folder, sections, about=record["about"], status=status)
    with replacing(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
