"""What the networks see in the photographs, before anything is explained."""

from collections.abc import Mapping

from jaxviz import labels
from jaxviz.report._networks import softmax
from jaxviz.report._study import Measured, Study, Tick, seen

TITLE = "The photographs"


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return len(study.networks)


def measure(study: Study, done: Mapping[str, Measured], *, tick: Tick, top: int = 5) -> Measured:
    """Classes of each photograph, and the class whose score the maps explain."""
    networks = {}
    for network in study.networks:
        scores = study.scores(network, study.pixels)
        networks[network.name] = [
            {
                "classes": [seen(probabilities, int(index)) for index in (-probabilities).argsort(kind="stable")[:top]],
                "dead_classes": int((score == 0).sum()),
            }
            for score, probabilities in zip(scores, softmax(scores), strict=True)
        ]
        tick(network.name)
    first = networks[study.networks[0].name]
    explained = [
        found["classes"][0]["index"] if photograph.label is None else photograph.label
        for photograph, found in zip(study.photographs, first, strict=True)
    ]
    given = [photograph.label is not None for photograph in study.photographs]
    numbers = {
        "stems": [photograph.stem for photograph in study.photographs],
        "networks": networks,
        "explained": [
            {"index": index, "name": labels.name(index), "given": is_given}
            for index, is_given in zip(explained, given, strict=True)
        ],
    }
    return Measured(numbers, None)
