"""The predictions for the photographs, before anything is explained."""

from scipy.special import softmax

from jaxviz.report.drawing import Picture
from jaxviz.report.study import normalized, prediction, scores
from jaxviz.report.text import percent

TITLE = "The photographs"
PAGES = {"photographs": ("To begin with", TITLE)}


def measure(study, network, done, *, top: int = 5):
    """The most probable classes of each photograph; for the first network also the class that the maps explain."""
    records = []
    for photo, values in zip(
        study.photos, study.run(scores, network.model, normalized(study.pixels)).astype(float), strict=True
    ):
        probabilities = softmax(values)
        order = (-probabilities).argsort(kind="stable")[:top]
        record = {
            "predictions": [prediction(probabilities, index) for index in order],
            "dead_classes": int((values == 0).sum()),
        }
        if network is study.networks[0]:
            given = photo.label is not None
            record["explained"] = {**prediction(probabilities, photo.label), "given": given}
        records.append(record)
    return records, None


def figures(study, network, numbers, arrays, draw):
    """The photographs that the first network sees."""
    if network is not study.networks[0]:
        return {}
    row = []
    for photo, record in zip(study.photos, numbers, strict=True):
        best = record["predictions"][0]
        caption = f"{photo.name}: {best['name']}, {percent(best['probability'])}"
        alt = f"The photograph {photo.name}, cropped to the square that the network sees."
        row.append(Picture(f"photo-{photo.name}", photo.pixels, caption, alt))
    return {"photos": draw.pictures("photographs", [row])}
