"""A report from the first section to the last, of a small network and small pictures."""

import functools
import importlib.resources
import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.tree_util import Partial
from jinja2 import UndefinedError
from PIL import Image

from jaxviz import report
from jaxviz.report import Network, page, writer
from jaxviz.report.topics import TOPICS

pytestmark = pytest.mark.usefixtures("toy_networks")

CHELSEA, COFFEE = (
    Path(str(importlib.resources.files("skimage.data") / name)) for name in ("chelsea.png", "coffee.png")
)
SMALL = {
    "noise": {"num_samples": 2, "num_steps": 2},
    "faithfulness": {"num_steps": 4, "distances": (0.5, 8.0)},
    "fooling": {"step_size": 5.0, "max_steps": 40},
    "attacks": {"sizes": (1.0, 8.0), "num_steps": 2},
    "visualization": {
        "num_steps": 6,
        "snapshot_every": 2,
        "step_sizes": (5.0,),
        "l2_weights": (1e-3, 1.0),
        "max_jitter": 2,
    },
}
SIZE = 40


def small_network(name: str, seed: int) -> Network:
    """One convolution and one layer of 1000 scores, of which those of the last 100 classes are dead."""
    random = np.random.default_rng(seed)

    def model(weights, images):
        x = jax.lax.conv_general_dilated(
            images, weights["conv"]["kernel"], (4, 4), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = checkpoint_name(jax.nn.relu(x), "features").mean((1, 2))
        return x @ weights["fc"]["kernel"] + weights["fc"]["bias"][None]

    weights = {
        "conv": {"kernel": jnp.asarray(random.normal(size=(4, 4, 3, 48)), jnp.float32)},
        "fc": {
            "kernel": jnp.asarray(random.normal(size=(48, 1000)), jnp.float32).at[:, 900:].set(0),
            "bias": jnp.full(1000, 2.0).at[900:].set(0),
        },
    }
    layers = {"fc": "0/fc", "conv": "0/conv"}
    return Network(name, Partial(model, weights), "drawn at random", "0" * 64, layers, "features")


def write(networks, paths, output, **options):
    options = {"size": SIZE, "resize": SIZE, "settings": SMALL, "devices": jax.devices()[:2], **options}
    return report.write(networks, paths, output, **options)


def page_of(folder: Path) -> str:
    return (folder / "index.html").read_text()


def text_of(folder: Path) -> str:
    """What a reader sees of the page, in one line."""
    page = re.sub(r"<(style|script)>.*?</\1>", "", page_of(folder), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.fixture(scope="module")
def written(toy_networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "made" / "if need be"
    calls = []
    networks = [small_network("net A", 0), small_network("net B", 1)]
    record = write(networks, [CHELSEA, COFFEE], folder, progress=lambda *call: calls.append(call))
    return folder, record, calls


def test_every_figure_is_there_and_listed(written):
    folder, record, _ = written
    on_disk = {f"figures/{path.name}" for path in (folder / "figures").iterdir()}
    assert on_disk == set(record["figures"])
    for name in on_disk:
        with Image.open(folder / name) as image:
            image.load()
            assert image.format == "PNG"
    page = page_of(folder)
    named = set(re.findall(r'(?:src|href|srcset)="([^"#]+)"', page)) - {"data:,", "report.json"}
    assert named == on_disk


def test_all_numbers_are_json(written):
    folder, record, _ = written
    assert json.loads((folder / "report.json").read_text()) == json.loads(json.dumps(record))
    assert list(record["sections"]) == list(TOPICS)
    for key, section in record["sections"].items():
        assert section["numbers"]
        assert section["cost"]["seconds"] > 0
        assert section["cost"]["processor_seconds"] > 0
        assert section["settings"].items() >= SMALL.get(key, {}).items()
    assert record["about"]["networks"][1] == {"name": "net B", "source": "drawn at random", "sha256": "0" * 64}
    assert record["about"]["environment"]["versions"]["jax"] == jax.__version__


def test_the_page_answers_every_question(written):
    folder, _, _ = written
    text = text_of(folder)
    for number in range(1, 12):
        assert f"Question {number} " in text
    assert text.count("Measured here") - 1 == text.count("What this does not show") == 15  # one is in the introduction
    assert text.count("How it was computed") == text.count(f"SHA-256 {'0' * 64}") // 2 == 15
    assert "Interrupted" not in text
    assert "not finished yet" not in text
    assert not re.search(r"https?://", page_of(folder))
    assert all(alt.strip() for alt in re.findall(r'alt="([^"]*)"', page_of(folder)))


def test_progress_counts_to_the_end(written):
    _, _, calls = written
    by_title = {}
    for title, done, parts, what in calls:
        assert done == len(by_title.setdefault(title, []))
        by_title[title].append((parts, what))
    assert list(by_title) == [topic.TITLE for topic in TOPICS.values()]
    for ticks in by_title.values():
        assert {parts for parts, _ in ticks} == {len(ticks) - 1}


def test_fooled_pictures_are_what_the_numbers_say(written):
    folder, record, _ = written
    network = small_network("net A", 0)
    runs = record["sections"]["fooling"]["numbers"]["net A"]["runs"]
    assert len(runs) == 6
    assert any(run["reached"] for run in runs)
    run = runs[0]
    original, fooled = (np.asarray(Image.open(folder / "figures" / f"fooling-1-0-{column}.png")) for column in (0, 1))
    assert np.abs(fooled.astype(int) - original).max() == run["largest_change_in_levels"]
    assert np.linalg.norm((fooled.astype(int) - original) / 255) == pytest.approx(run["l2_norm"])
    from jaxviz import images

    scores = network.model(images.from_uint8(fooled[None]))[0]
    assert (int(scores.argmax()) == run["target"]["index"]) == run["reached"]
    assert float(jax.nn.softmax(scores)[run["target"]["index"]]) == pytest.approx(
        run["target"]["probability"], rel=1e-4
    )


def test_the_grid_is_one_call_with_equal_starts(written):
    _, record, _ = written
    numbers = record["sections"]["visualization"]["numbers"]
    cells = [run for run in numbers["net A"] if run["start"] == "noise"]
    assert {(run["step_size"], run["l2_weight"]) for run in cells} == {(5.0, 1e-3), (5.0, 1.0)}
    assert len({round(run["scores"][0], 4) for run in cells}) == 1
    assert len({round(run["scores"][-1], 4) for run in cells}) == 2
    assert len(numbers["net B"]) == 2  # the grid is of the first network alone


def test_transfer_to_the_source_model_is_fooling(written):
    _, record, _ = written
    records = [r for row in record["sections"]["transfer"]["numbers"].values() for r in row]
    own = [r for r in records if r["source_model"] == r["evaluation_model"] and r["kind"] == "first success"]
    networks = record["sections"]["fooling"]["numbers"]
    assert {r["source_model"]: r["target"] for r in own} == {
        name: sum(run["reached"] for run in numbers["runs"]) for name, numbers in networks.items()
    }
    assert {(r["source_model"], r["evaluation_model"]) for r in records if r["kind"].startswith("FGSM")} == {
        ("net A", "net A"), ("net A", "net B"),
    }  # fmt: skip


def test_one_photograph_one_network_and_a_dead_target(tmp_path):
    record = write([small_network("net A", 0)], [CHELSEA], tmp_path, targets=[950], devices=jax.devices()[:1])
    (run,) = record["sections"]["fooling"]["numbers"]["net A"]["runs"]
    assert (run["stalled"], run["reached"], run["steps"]) == (True, False, 0)
    text = text_of(tmp_path)
    assert "1 run stalled" in text
    assert "no run reached its target" in text
    assert "This report is about net A alone" in text
    assert text.count("Give a second") == 3


def test_an_interrupt_leaves_what_is_finished(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(TOPICS["noise"], "measure", interrupted)
    record = write([small_network("net A", 0)], [CHELSEA], tmp_path, settings={})
    assert record["about"]["interrupted"]
    text = text_of(tmp_path)
    assert "Interrupted. The sections below are finished. Missing: A limit: noise; A limit: local and linear;" in text
    assert "Class visualizations." in text
    assert text.count("Measured here") == 1 + 2
    assert list(json.loads((tmp_path / "report.json").read_text())["sections"]) == ["photographs", "saliency"]


def test_a_crash_leaves_a_page_that_says_it_is_not_finished(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("power cut")

    monkeypatch.setattr(TOPICS["saliency"], "measure", broken)
    with pytest.raises(RuntimeError, match="power cut"):
        write([small_network("net A", 0)], [CHELSEA], tmp_path, settings={})
    assert "not finished yet. Still to come: Saliency maps" in text_of(tmp_path)


def test_unreadable_files_are_named_and_left_out(tmp_path, monkeypatch):
    first, *_ = TOPICS
    monkeypatch.setattr(writer, "TOPICS", {first: TOPICS[first]})
    bad = tmp_path / "<b>bad.png"  # as no page may take for markup
    bad.write_text("not an image")
    (tmp_path / "x").mkdir()
    for name in ("x/same.png", "same.png"):
        Image.new("RGB", (50, 50), "red" if "/" in name else "blue").save(tmp_path / name)
    paths = [tmp_path / "x/same.png", bad, tmp_path / "same.png", tmp_path / "missing.png"]
    record = write([small_network("net A", 0)], paths, tmp_path / "out", settings={})
    assert [Path(error["file"]).name for error in record["about"]["errors"]] == ["<b>bad.png", "missing.png"]
    page = page_of(tmp_path / "out")
    assert "&lt;b&gt;bad.png: not an image" in page
    assert "<b>bad" not in page
    colors = [
        Image.open(tmp_path / "out/figures" / f"photographs-1-0-{column}.png").getpixel((0, 0)) for column in (0, 1)
    ]
    assert colors == [(255, 0, 0), (0, 0, 255)]
    with pytest.raises(ValueError, match="not an image"):
        write([small_network("net A", 0)], [bad], tmp_path / "none", settings={})


def test_mistakes(tmp_path):
    networks = [small_network("net A", 0)]
    with pytest.raises(ValueError, match=r"unknown entry, 'noise': \['samples'\]"):
        write(networks, [CHELSEA], tmp_path, settings={"noise": {"samples": 3}})
    with pytest.raises(ValueError, match=r"unknown entry, 'nois'"):
        write(networks, [CHELSEA], tmp_path, settings={"nois": {}})
    with pytest.raises(ValueError, match="one for each of the 2 images, or none, got 1"):
        write(networks, [CHELSEA, COFFEE], tmp_path, classes=[3])
    with pytest.raises(ValueError, match="`paths` is empty"):
        write(networks, [], tmp_path)


def test_a_wrong_name_in_a_template_is_an_error():
    with pytest.raises(UndefinedError, match="has no attribute 'networks'"):
        page.environment().get_template("page.html").render(sections=[], about={}, status="", costs=[])


def test_quick_settings_are_less_work_and_given_ones_win(tmp_path, monkeypatch):
    for name in list(TOPICS)[1:]:
        monkeypatch.setattr(TOPICS[name], "measure", _nothing(TOPICS[name].measure))
        monkeypatch.setattr(TOPICS[name], "PAGES", {})
    network = small_network("net A", 0)
    usual, quick = (write([network], [CHELSEA], tmp_path, quick=quick, settings={}) for quick in (False, True))
    mixed = write([network], [CHELSEA], tmp_path, quick=True, settings={"noise": {"num_samples": 7}})
    samples = [record["sections"]["noise"]["settings"]["num_samples"] for record in (usual, quick, mixed)]
    assert samples == [16, 4, 7]
    for name, topic in TOPICS.items():
        assert getattr(topic, "QUICK", {}).keys() <= usual["sections"][name]["settings"].keys()
    assert "This is a quick report" in text_of(tmp_path)


def _nothing(measure):
    @functools.wraps(measure)  # with its settings
    def nothing(*_, **__):
        return None

    return nothing


@pytest.fixture(scope="module")
def browser():
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (1280, "dark"), (375, "light"), (375, "dark")], ids=str)
def screen(request, browser, written):
    """The page as a reader has it, what it asked for, and what it complained about."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, asked, complaints = context.new_page(), [], []
    page.on("request", lambda sent: asked.append(sent.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((written[0] / "index.html").as_uri())
    page.evaluate("document.querySelectorAll('img').forEach(image => { image.loading = 'eager' })")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    yield page, asked, complaints
    context.close()


def test_the_page_needs_no_network_and_fits(screen):
    page, asked, complaints = screen
    assert asked
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    assert complaints == []
    assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)") == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    shown = page.evaluate("[...document.querySelectorAll('picture img')].map(image => image.currentSrc)")
    assert shown
    assert all(url.endswith("-dark.png") == dark for url in shown)
    ids = page.evaluate("[...document.querySelectorAll('nav a')].map(link => link.hash.slice(1))")
    assert ids == page.evaluate("[...document.querySelectorAll('section')].map(section => section.id)")


def test_the_page_is_accessible(screen):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page, _, _ = screen
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 15
    grave = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in grave] == []


def test_films_by_keyboard(screen):
    page, _, _ = screen
    pair, film = page.locator(".film").first, page.locator(".film").nth(2)
    place = "film => film.querySelector('.window img').getBoundingClientRect().left"
    for widget, first, last in ((pair, "original", "fooling image"), (film, "iteration 0", "iteration 6")):
        widget.locator("input").focus()
        assert widget.locator("output").inner_text() == last
        end = widget.evaluate(place)
        page.keyboard.press("Home")
        assert widget.locator("output").inner_text() == first
        assert widget.evaluate(place) > end
    film.locator("button").click()
    page.wait_for_function("document.querySelectorAll('.film output')[2].textContent == 'iteration 6'")
    assert film.evaluate(place) == end
    assert film.locator("button").inner_text() == "Play"


def test_without_scripts_and_motion(browser, written):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.goto((written[0] / "index.html").as_uri())
    frames = page.evaluate("(window => window.scrollWidth / window.clientWidth)(document.querySelector('.window'))")
    assert frames == pytest.approx(2, abs=0.1)  # to scroll
    assert not page.locator(".film .control").first.is_visible()
    context.close()
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto((written[0] / "index.html").as_uri())
    assert page.locator(".film input").first.is_visible()
    assert not page.locator(".film button").first.is_visible()
    context.close()
