"""The predictions for the photographs, before anything is explained."""

from scipy.special import softmax

from jaxviz.report.study import normalized, prediction, scores
from jaxviz.report.text import percent

TITLE = "The photographs"
PAGES = {"photographs": ("To begin with", TITLE)}


def measure(study, network, done, *, top: int = 5):
    """The most probable classes of each photograph; for the first network also the class that the maps explain."""
    records = []
    results = study.run(scores, network.model, normalized(study.pixels)).astype(float)
    for photo, values in zip(study.photos, results, strict=True):
        probabilities = softmax(values)
        order = (-probabilities).argsort(kind="stable")[:top]
        predictions = [prediction(probabilities, index) for index in order]
        records.append({"predictions": predictions, "dead_classes": int((values == 0).sum())})
        records[-1]["given_is_top"] = photo.label == order[0]
        if network is study.networks[0]:
            records[-1]["explained"] = {**prediction(probabilities, photo.label), "given": photo.label is not None}
    return records, None


def figures(study, network, numbers, arrays, draw):
    """The photographs that the first network sees."""
    if network is not study.networks[0]:
        return {}
    best = [record["predictions"][0] for record in numbers]
    texts = [f"{p.name}: {b['name']}, {percent(b['probability'])}" for p, b in zip(study.photos, best, strict=True)]
    return {"photos": draw.pictures("photographs", {"photograph": zip(study.pixels, texts, strict=True)})}
