"""What `jaxviz batch` works through."""

import pytest

from jaxviz.batch import items
from jaxviz.batch.items import Item


def test_a_folder_gives_its_images_in_the_order_of_their_names(tmp_path):
    for name in ("b.png", "a.JPG", "deep/c.webp", "notes.txt", "deep/x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for i in range(30):  # no file system gives so many in order by chance
        (tmp_path / f"deep/{i}.png").touch()
    (tmp_path / "folder.png").mkdir()
    names = ["a.JPG", "b.png", *sorted(f"deep/{i}.png" for i in range(30)), "deep/c.webp"]
    assert [*items.of_images(tmp_path)] == [Item(name, None) for name in names]
    assert items.root(tmp_path) == tmp_path


def test_a_list_gives_its_lines(tmp_path):
    source = tmp_path / "list.txt"
    source.write_text("b.png\n\ndeep/a b.png\n")
    assert [*items.of_images(source)] == [Item("b.png", None), Item("deep/a b.png", None)]
    assert items.root(source) == tmp_path
    source.write_text("b.png\tstingray\nä.png\t7\r\n", encoding="utf-8")
    assert [*items.of_images(source)] == [Item("b.png", 6), Item("ä.png", 7)]
    source.write_text("tarantula\n113\n")
    assert [*items.of_classes(source)] == [Item(None, 76), Item(None, 113)]


def test_the_digest_is_of_files_classes_and_order():
    some = [Item("a", 1), Item("b", 2)]
    others = ([Item("a", 1)], some[::-1], [Item("a", 1), Item("b", 3)], [Item("a", 1), Item("c", 2)])
    assert len({items.Items(found).digest for found in (some, *others)}) == 5
    assert items.Items(some).digest == items.Items(list(some)).digest


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "is an empty list"),
        (b"\xff\xd8\xff\xe0", "is no text in UTF-8"),
        (b"a.png\t3\nb.png\n", "some lines have a class"),
        (b"a.png\n\nb.png\tstingrey\n", "line 3: 'stingrey' is no ImageNet class; near names: 'stingray'"),
        (b"a.png\t1000\n", "line 1: .* 0 to 999"),
    ],
)
def test_a_list_that_cannot_be_understood(tmp_path, content, error):
    source = tmp_path / "list.txt"
    source.write_bytes(content)
    with pytest.raises(ValueError, match=error):
        items.of_images(source)


def test_a_folder_without_images(tmp_path):
    with pytest.raises(ValueError, match="no file with the suffix of an image"):
        items.of_images(tmp_path)
    with pytest.raises(FileNotFoundError):
        items.of_images(tmp_path / "missing")
