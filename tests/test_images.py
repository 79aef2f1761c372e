"""`jaxviz.images.load`: files as torchvision prepares them; what is no image is refused by name."""

import importlib.resources
import struct
import warnings
import zlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torchvision.transforms as T  # noqa: N812 (its usual name)
from PIL import Image, ImageOps

from jaxviz import images

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 401, 3), np.uint8)
RGB = Image.fromarray(PIXELS)
ALPHA = Image.fromarray(PIXELS[..., 0])
SAMPLES = importlib.resources.files("skimage.data")


def expected(image: Image.Image, size: int = 224, resize: int = 256) -> np.ndarray:
    transform = T.Compose(
        [
            T.Resize(resize, T.InterpolationMode.BILINEAR, antialias=True),
            T.CenterCrop(size),
            T.ToTensor(),
            T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images")  # of Pillow, on transparency given as bytes
        image = ImageOps.exif_transpose(image).convert("RGB")
    return transform(image).numpy().transpose(1, 2, 0)[None]


def check(path: Path, **sizes: int) -> None:
    with Image.open(path) as image:
        np.testing.assert_allclose(images.load(path, **sizes), expected(image, **sizes), rtol=0, atol=1e-5)


def png(values: np.ndarray, *, claimed: tuple[int, int] | None = None) -> bytes:
    """A PNG file of (h, w, c) values of 8 or 16 bits, with c of 1 to 4."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, channels = values.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", *(claimed or (width, height)), 8 * values.itemsize, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(values.dtype.newbyteorder(">")).tobytes() for row in values)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(ALPHA)
    return image


@pytest.mark.parametrize(
    ("name", "image", "options"),
    [
        ("rgb.png", RGB, {}),
        ("rgb.jpg", RGB, {}),
        ("progressive.jpg", RGB, {"progressive": True}),
        ("grey.png", RGB.convert("L"), {}),
        ("grey.jpg", RGB.convert("L"), {}),
        ("grey-alpha.png", with_alpha(RGB.convert("L")), {}),
        ("grey-transparent.png", RGB.convert("L"), {"transparency": 7}),
        ("rgba.png", with_alpha(RGB), {}),
        ("palette.png", RGB.quantize(64), {}),
        ("palette-transparent.png", RGB.quantize(64), {"transparency": 3}),
        ("palette-half-transparent.png", RGB.quantize(64), {"transparency": bytes(range(64))}),
        ("palette.gif", RGB.quantize(64), {"transparency": 3}),
        ("cmyk.jpg", RGB.convert("CMYK"), {}),
        ("black-and-white.png", RGB.convert("1"), {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_load_kinds(tmp_path, name, image, options):
    image.save(tmp_path / name, **options)
    check(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_orientation(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image{suffix}"
    RGB.save(path, exif=exif)
    check(path)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_load_16_bits_as_their_high_byte(tmp_path, channels):
    values = np.random.default_rng(channels).integers(0, 65536, (300, 401, channels), np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(png(values))
    high = (values >> 8).astype(np.uint8)[..., : 1 if channels < 3 else 3]
    same = Image.fromarray(np.broadcast_to(high, (300, 401, 3)))
    np.testing.assert_allclose(images.load(path), expected(same), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 1000), (1000, 1), (2, 3), (224, 224), (256, 256), (255, 257), (257, 255), (333, 1001)]
)
def test_load_shapes(tmp_path, shape):
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)).save(path)
    check(path)


@pytest.mark.parametrize(("size", "resize"), [(64, 80), (299, 342), (1, 1), (256, 256), (223, 256), (224, 255)])
def test_load_sizes(tmp_path, size, resize):
    RGB.save(tmp_path / "image.png")
    check(tmp_path / "image.png", size=size, resize=resize)


def test_load_photographs_as_one_batch_in_order():
    paths = [SAMPLES / name for name in ("chelsea.png", "rocket.jpg", "coffee.png")]
    batch = images.load([paths[0], str(paths[1]), paths[2]])
    assert batch.shape == (3, 224, 224, 3)
    assert batch.dtype == jnp.float32
    for one, path in zip(batch, paths, strict=True):
        np.testing.assert_array_equal(one[None], images.load(str(path)))
        check(path)


def jpeg_bytes(tmp_path: Path) -> bytes:
    RGB.save(tmp_path / "whole.jpg")
    return (tmp_path / "whole.jpg").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text.png", lambda folder: b"not an image", "not an image"),
        ("empty.png", lambda folder: b"", "not an image"),
        ("cut.jpg", lambda folder: jpeg_bytes(folder)[:-5000], "damaged.*truncated"),
        ("cut.png", lambda folder: png(PIXELS)[:-5000], "damaged.*truncated"),
        ("bomb.png", lambda folder: png(PIXELS, claimed=(30000, 30000)), "too large"),
        ("long.png", lambda folder: png(np.zeros((1, 60000, 3), np.uint8)), "60000 x 1 pixels are too elongated"),
    ],
)
def test_load_refuses_by_name(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content(tmp_path))
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        images.load([SAMPLES / "chelsea.png", tmp_path / name])


def test_load_obeys_the_limit_of_pillow(tmp_path, monkeypatch):
    RGB.save(tmp_path / "image.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300 * 401 // 3)
    with pytest.raises(ValueError, match=r"image.png: too large to decode"):
        images.load(tmp_path / "image.png", size=8, resize=8)
    (tmp_path / "long.png").write_bytes(png(np.zeros((1, 9000, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"long.png: .* too elongated"):
        images.load(tmp_path / "long.png", size=8, resize=8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert images.load(tmp_path / "image.png", size=8, resize=8).shape == (1, 8, 8, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_load_refuses_pixels_without_a_range(tmp_path, dtype):
    Image.fromarray(np.ones((8, 8), dtype)).save(tmp_path / "values.tiff")
    with pytest.raises(ValueError, match=r"values.tiff: .*no known range"):
        images.load(tmp_path / "values.tiff")


def test_load_refuses_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        images.load(tmp_path / "missing.png")
    with pytest.raises(OSError, match=tmp_path.name):
        images.load(tmp_path)
    with pytest.raises(ValueError, match="`paths` is empty"):
        images.load([])


@pytest.mark.parametrize(("size", "resize"), [(257, 256), (0, 256), (-1, 256), (0, 0)])
def test_load_refuses_sizes(size, resize):
    with pytest.raises(ValueError, match="`size` must be in 1 to `resize`"):
        images.load(SAMPLES / "chelsea.png", size=size, resize=resize)


def with_checksums(content: bytes) -> bytes:
    """A PNG file with the checksums that it should have, so that Pillow reads on where it is damaged."""
    mended, place = content[:8], 8
    while place + 8 <= len(content):
        length = int.from_bytes(content[place : place + 4])
        body = content[place + 4 : place + 8 + length]
        mended += content[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return mended


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage, and goes on
@pytest.mark.parametrize(("suffix", "finish"), [(".jpg", bytes), (".png", bytes), (".png", with_checksums)])
def test_load_of_damaged_files_succeeds_or_names_the_file(tmp_path, suffix, finish):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"damaged{suffix}"
    RGB.resize((24, 18)).save(path, exif=exif)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    random = np.random.default_rng(0)
    outcomes = set()
    for turn in range(400):
        content = whole.copy()
        # Every other time in the headers, where there is more to go wrong
        places = random.integers(0, len(content) if turn % 2 else 120, random.integers(1, 9))
        content[places] = random.integers(0, 256, len(places))
        end = len(content) if turn % 4 else random.integers(len(content))
        path.write_bytes(finish(content[:end].tobytes()))
        try:
            outcomes.add(images.load(path, size=4, resize=4).shape)
        except ValueError as error:
            outcomes.add(str(error).startswith(f"{path}: "))
    assert outcomes == {(1, 4, 4, 3), True}
