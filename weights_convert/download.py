"""Downloads torchvision's official weight files through torchvision and verifies them."""

import contextlib
import http.client
import ssl
import tempfile
import urllib.error
from collections.abc import Iterator
from pathlib import Path

from weights_convert import files, sources

# torchvision's name for the weights, and the start of the file's SHA-256
OFFICIAL = {
    "squeezenet1_0": ("SqueezeNet1_0_Weights.IMAGENET1K_V1", "b66bff10"),
    "squeezenet1_1": ("SqueezeNet1_1_Weights.IMAGENET1K_V1", "b8a52dc0"),
    "vgg16": ("VGG16_Weights.IMAGENET1K_V1", "397923af"),
}


def official_url(name: str) -> str:
    """The URL of torchvision's weights of an architecture."""
    try:
        import torchvision.models
    except ImportError as error:
        raise ImportError('Downloading weights needs the extra `convert`: pip install "jaxviz[convert]"') from error
    return torchvision.models.get_weight(OFFICIAL[name][0]).url


def official(name: str, folder: Path) -> files.Weights:
    """The official weights of an architecture, downloaded temporarily into `folder`.

    Raises:
        ImportError, ConnectionError, ValueError, OSError: errors of `downloaded`.
    """
    with downloaded(name, folder) as path:
        return sources.torchvision(path, name)


@contextlib.contextmanager
def downloaded(name: str, folder: Path) -> Iterator[Path]:
    """Yields the verified official file of architecture `name`, in `folder` until the block ends.

    Raises:
        ImportError: torchvision is not installed.
        ConnectionError: the server cannot be reached, or the connection was lost.
        ValueError: the downloaded file is not the official file.
        OSError: the folder cannot be written, or is full.
    """
    url = official_url(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".download-", dir=folder)
    except OSError as error:
        raise files.cannot_write(folder, error) from error
    with temporary:
        path = Path(temporary.name, url.rsplit("/", 1)[-1])
        _fetch(name, url, path, folder)
        yield path


def _fetch(name: str, url: str, path: Path, folder: Path) -> None:
    import torch.hub

    by_hand = (
        f"Try again, or fetch {url} elsewhere and give the file: "
        f'load_model("{name}", weights="FILE.pth"), or --checkpoint FILE.pth.'
    )
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=OFFICIAL[name][1])
    except urllib.error.HTTPError as error:
        error.close()
        raise ConnectionError(f"{url} answered {error.code} {error.reason}. {by_hand}") from error
    except (urllib.error.URLError, http.client.HTTPException, ssl.SSLError, ConnectionError, TimeoutError) as error:
        raise ConnectionError(f"{url} cannot be reached ({str(error).strip()}). {by_hand}") from error
    except RuntimeError as error:  # torch.hub's error for a wrong hash
        raise ValueError(
            f"What {url} sent is not the official file, or was cut short ({error}). Nothing was kept. {by_hand}"
        ) from error
    except OSError as error:
        raise files.cannot_write(folder, error) from error
