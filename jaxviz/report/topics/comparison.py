"""Question 4: the same with another network. Are its maps less noisy, do they show the same regions?"""

from scipy.ndimage import gaussian_filter

from jaxviz.figures import saliency_picture
from jaxviz.report.metrics import iou, rank_correlation
from jaxviz.report.text import mean

TITLE = "The same with another network"
PAGES = {"comparison": ("Question 4", TITLE)}


def measure(study, network, done, *, sigma: float = 8.0):
    """The network's maps against those of each later network, for equal and, as the control, different photographs."""
    indices, pairs, a = range(len(study.photos)), [], network.name
    maps = {name: kinds["gradient"] for name, kinds in done["saliency"].arrays.items()}
    boxes = {name: [record["box"] for record in records] for name, records in done["saliency"].numbers.items()}
    coarse = {name: [gaussian_filter(values.astype(float), sigma) for values in maps[name]] for name in maps}
    for b in list(maps)[list(maps).index(a) + 1 :]:
        others = [(i, j) for i in indices for j in indices if i != j]
        pairs.append(
            {
                "networks": [a, b],
                "fine": [rank_correlation(maps[a][i], maps[b][i]) for i in indices],
                "coarse": [rank_correlation(coarse[a][i], coarse[b][i]) for i in indices],
                "coarse_of_others": [rank_correlation(coarse[a][i], coarse[b][j]) for i, j in others],
                "iou": [iou(boxes[a][i], boxes[b][i]) for i in indices],
            }
        )
    records = [record["gradient"] for record in done["noise"].numbers[a]]
    noise = {key: mean(record[key] for record in records) for key in ("roughness", "rank_correlation")}
    return {**noise, "pairs": pairs}, maps


def figures(study, network, numbers, maps, draw):
    """All networks' maps of the same photographs, once."""
    if len(study.networks) == 1 or network is not study.networks[0]:
        return {}
    rows = {f"map of {name}": [(saliency_picture(map_), name) for map_ in values] for name, values in maps.items()}
    return {"maps": draw.pictures("comparison", {"photograph": study.captioned, **rows})}
