"""torchvision's official weight files, fetched through torchvision and checked."""

import tempfile
import urllib.error
from pathlib import Path

from weights_convert import sources
from weights_convert.files import Weights

# torchvision's name for the weights, and the start of the file's SHA-256
OFFICIAL = {
    "squeezenet1_0": ("SqueezeNet1_0_Weights.IMAGENET1K_V1", "b66bff10"),
    "squeezenet1_1": ("SqueezeNet1_1_Weights.IMAGENET1K_V1", "b8a52dc0"),
    "vgg16": ("VGG16_Weights.IMAGENET1K_V1", "397923af"),
}


def official_url(name: str) -> str:
    """Where torchvision keeps the weights of an architecture."""
    try:
        import torchvision.models
    except ImportError as error:
        raise ImportError('Downloading weights needs the extra `convert`: pip install "jaxviz[convert]"') from error
    return torchvision.models.get_weight(OFFICIAL[name][0]).url


def official(name: str, folder: Path) -> Weights:
    """The official weights of an architecture, downloaded into `folder` for as long as reading them takes.

    Raises:
        ImportError, ConnectionError, ValueError, OSError: as `download`.
    """
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
        path = Path(temporary, official_url(name).rsplit("/", 1)[-1])
        download(name, path)
        return sources.torchvision(path, name)


def download(name: str, path: Path) -> None:
    """Fetches the official file of architecture `name` to `path`, whole and checked, or not at all.

    Raises:
        ImportError: torchvision is not installed.
        ConnectionError: the server cannot be reached, or the connection broke off.
        ValueError: what came is not the official file.
        OSError: the folder cannot be written, or is full.
    """
    url = official_url(name)
    import torch.hub

    by_hand = (
        f"Try again, or fetch {url} elsewhere and give the file: "
        f'load_model("{name}", weights="FILE.pth"), or --checkpoint FILE.pth.'
    )
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=OFFICIAL[name][1])
    except urllib.error.HTTPError as error:
        raise ConnectionError(f"{url} answered {error.code} {error.reason}. {by_hand}") from error
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise ConnectionError(f"{url} cannot be reached ({error}). {by_hand}") from error
    except RuntimeError as error:  # torch.hub's word for a wrong hash, of a file cut short or changed
        raise ValueError(f"What {url} sent is not the official file: {error}. Nothing was kept. {by_hand}") from error
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror} while writing {path.parent}: make room there, or set JAXVIZ_CACHE to another folder",
        ) from error
