"""The formulas of the page in MathML, which browsers draw by themselves."""

from markupsafe import Markup

from jaxviz.report._blocks import Formula


def _formula(inside: str, text: str, letters: str) -> Formula:
    """`inside` as a formula, read aloud as `text`."""
    return Formula(Markup(f'<math display="block" aria-label="{text}">{inside}</math>'), letters)


def _i(name: str) -> str:
    return f"<mi>{name}</mi>"


def _o(name: str) -> str:
    return f"<mo>{name}</mo>"


def _bar(bar: str) -> str:
    return f"<mo fence='true' stretchy='true'>{bar}</mo>"


def _sub(name: str, low: str) -> str:
    return f"<msub>{name}<mrow>{low}</mrow></msub>"


_X, _ETA, _LAMBDA, _EPSILON = map(_i, ("x", "η", "λ", "ε"))
_SCORE = f"<mover>{_i('y')}<mo>~</mo></mover>"
_TARGET, _LABEL = _sub(_SCORE, "<mtext>target</mtext>"), _sub(_SCORE, "<mtext>class</mtext>")


def _partial(score: str, over: str) -> str:
    return f"<mfrac><mrow><mo>∂</mo>{score}</mrow><mrow><mo>∂</mo>{over}</mrow></mfrac>"


def _norm(inside: str, kind: str = "<mn>2</mn>") -> str:
    return f"<msub><mrow>{_bar('‖')}{inside}{_bar('‖')}</mrow>{kind}</msub>"


_PIXEL = _sub(_X, f"{_i('p')}{_i('q')}{_i('c')}")

SALIENCY = _formula(
    f"<mrow>{_sub(_i('M'), _i('p') + _i('q'))}{_o('=')}<munder>{_o('max')}{_i('c')}</munder>"
    f"{_bar('|')}{_partial(_LABEL, _PIXEL)}{_bar('|')}</mrow>",
    "the map at p, q is the maximum over the colours c of the absolute derivative of the class score by the pixel",
    "x: the picture, with its value in row p, column q and colour c; ỹ: the raw score of the class; ∂ỹ / ∂x: how "
    "much it changes when that value changes a little; M: the map, one number for each pixel.",
)
FOOLING = _formula(
    f"<mrow>{_X}{_o('←')}{_X}{_o('+')}{_ETA}<mfrac>{_i('g')}{_norm(_i('g'))}</mfrac>"
    f"<mspace width='2em'/>{_i('g')}{_o('=')}{_partial(_TARGET, _X)}</mrow>",
    "x becomes x plus eta times g over the norm of g, where g is the derivative of the target score by x",
    "x: the picture; ỹ: the raw score of the wanted class; g: its gradient, as many numbers as the picture has; ‖g‖: "
    "the gradient's length; η: the length of a step.",
)
FGSM = _formula(
    f"<mrow>{_X}{_o('←')}{_X}{_o('+')}{_EPSILON}<mspace width='0.3em'/><mtext>sign</mtext>{_o('(')}"
    f"{_sub(_o('∇'), _X)}{_i('J')}{_o(')')}</mrow>",
    "x becomes x plus epsilon times the sign of the gradient of J by x",
    "J: the loss, minus the logarithm of the class's probability; ε: by how much every value changes. Towards a target "
    "the sign is turned around.",
)
VISUALIZATION = _formula(
    f"<mrow>{_X}{_o('←')}{_X}{_o('+')}{_ETA}<mspace width='0.2em'/>{_sub(_o('∇'), _X)}{_o('(')}"
    f"{_TARGET}{_o(chr(0x2212))}{_LAMBDA}{_norm(_X)}{_o(')')}</mrow>",
    "x becomes x plus eta times the gradient of the target score minus lambda times the norm of x",
    "x: the picture; ỹ: the raw score of the class; η: the step size, or learning rate; λ: the weight of the "
    "regularization, which pulls all values towards the mean colour.",
)
LINEAR = _formula(
    f"<mrow>{_LABEL}{_o('(')}{_X}{_o('+')}{_i('t')}{_i('u')}{_o(')')}{_o('≈')}{_LABEL}{_o('(')}{_X}{_o(')')}"
    f"{_o('+')}{_i('t')}{_norm(_i('g'))}<mspace width='2em'/>{_i('u')}{_o('=')}<mfrac>{_i('g')}{_norm(_i('g'))}"
    f"</mfrac></mrow>",
    "the class score at x plus t u is about the score at x plus t times the norm of the gradient",
    "u: the direction of the gradient g, of length 1; t: how far the picture is moved in that direction.",
)
