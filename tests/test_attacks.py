import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

LABELS = np.array([0, 1, 2, 3, 4, 5])
LOWER, UPPER = np.array([-1.0, -0.5, -2.0], np.float32), np.array([1.0, 1.5, 2.0], np.float32)


def loss_gradient(linear, image, label):
    """Of the cross-entropy, in closed form: the mean of the classes' weights less the label's."""
    return linear.weights @ softmax(linear.scores(image)) - linear.weights[..., label]


def climb(linear, image, label, *, norm, epsilon, step_size, num_steps, sign=1, bounds=(-np.inf, np.inf)):
    """The same climb in numpy."""
    x = image.astype(np.float64)
    for _ in range(num_steps):
        g = sign * loss_gradient(linear, x, label)
        change = x + step_size * (np.sign(g) if norm == "linf" else g / np.linalg.norm(g)) - image
        if norm == "linf":
            change = np.clip(change, -epsilon, epsilon)
        else:
            change *= min(1, epsilon / max(np.linalg.norm(change), 1e-9))
        x = np.clip(image + change, *bounds)
    return x


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_of_a_linear_model(any_linear, linear_images, targeted):
    found = jaxviz.fgsm(any_linear.model, linear_images, LABELS, epsilon=0.3, targeted=targeted)
    for image, label, x in zip(linear_images, LABELS, found, strict=True):
        direction = np.sign(loss_gradient(any_linear, image, label)) * (-1 if targeted else 1)
        np.testing.assert_allclose(x, image + 0.3 * direction, atol=1e-6)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize(("norm", "epsilon", "step_size"), [("linf", 0.2, 0.07), ("l2", 1.5, 0.6)])
def test_pgd_of_a_linear_model(any_linear, linear_images, norm, epsilon, step_size, targeted):
    options = {"norm": norm, "epsilon": epsilon, "step_size": step_size, "num_steps": 6}
    images = np.clip(linear_images, LOWER, UPPER)
    found = jaxviz.pgd(any_linear.model, images, LABELS, targeted=targeted, bounds=(LOWER, UPPER), **options)
    for image, label, x in zip(images, LABELS, found, strict=True):
        sign = -1 if targeted else 1
        expected = climb(any_linear, image, label, sign=sign, bounds=(LOWER, UPPER), **options)
        np.testing.assert_allclose(x, expected, atol=1e-5)
    norms = np.linalg.norm((found - images).reshape(6, -1), np.inf if norm == "linf" else 2, axis=1)
    assert (norms <= epsilon * (1 + 1e-6)).all()
    assert (norms > 0.8 * epsilon).all()  # the projection was at work


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_step_size_without_one(linear, linear_images, norm):
    found = jaxviz.pgd(linear.model, linear_images, LABELS, epsilon=0.2, norm=norm, num_steps=4)
    expected = jaxviz.pgd(linear.model, linear_images, LABELS, epsilon=0.2, norm=norm, num_steps=4, step_size=0.125)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_one_radius_and_step_for_each_image(linear, linear_images, norm):
    radii, steps = np.linspace(0, 0.5, 6), np.linspace(0.3, 0, 6)
    found = jaxviz.pgd(linear.model, linear_images, LABELS, epsilon=radii, norm=norm, step_size=steps, num_steps=3)
    np.testing.assert_array_equal(np.asarray(found)[[0, 5]], linear_images[[0, 5]])  # no radius, no step
    for i, (radius, step) in enumerate(zip(radii, steps, strict=True)):
        options = {"epsilon": radius, "norm": norm, "step_size": step, "num_steps": 3}
        expected = climb(linear, linear_images[i], LABELS[i], **options)
        np.testing.assert_allclose(found[i], expected, atol=1e-5)
    found = jaxviz.fgsm(linear.model, linear_images, LABELS, epsilon=radii)
    np.testing.assert_allclose(
        np.abs(found - linear_images), np.broadcast_to(radii[:, None, None, None], found.shape), atol=1e-6
    )


def flat(images):
    """Scores that do not depend on the image, so no gradient."""
    return 0 * images.sum((1, 2))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_image_without_a_gradient_stays_put(linear_images, norm):
    found = jaxviz.pgd(flat, linear_images, [0, 1, 2, 0, 1, 2], epsilon=1.0, norm=norm)
    np.testing.assert_array_equal(found, linear_images)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_sure_network_has_its_gradient_all_the_same(norm):
    """Of two classes 60 apart the probability is 1 in float32, and 1 - 1e-26 in truth."""
    model = lambda images: 60 * images.mean((1, 2))  # noqa: E731
    images = np.array([1.0, 0.0], np.float32)[None, None, None]
    found = jaxviz.pgd(model, images, [0], epsilon=0.5, norm=norm, num_steps=1)
    step = 0.5 if norm == "linf" else 0.5 / np.sqrt(2)
    np.testing.assert_allclose(found - images, np.array([-step, step])[None, None, None], rtol=1e-6)


def starts(shape, **options):
    """Where `pgd` sets out from: without a gradient it stays there."""
    images = np.zeros(shape, np.float32)
    return np.asarray(jaxviz.pgd(flat, images, np.zeros(shape[0], int), num_steps=1, **options))


def test_a_random_start_is_uniform_in_the_ball():
    cube = starts((2000, 1, 1, 3), key=jax.random.key(0), epsilon=2.0)
    histogram, _ = np.histogram(cube, 8, (-2, 2))
    assert (np.abs(histogram / cube.size - 1 / 8) < 0.02).all()
    ball = starts((2000, 1, 1, 3), key=jax.random.key(0), epsilon=2.0, norm="l2")
    volumes = (np.linalg.norm(ball.reshape(2000, 3), axis=1) / 2) ** 3  # of the balls within; uniform in 0 to 1
    histogram, _ = np.histogram(volumes, 8, (0, 1))
    assert histogram.sum() == 2000
    assert (np.abs(histogram / 2000 - 1 / 8) < 0.02).all()
    assert (np.abs(ball.mean(0)) < 0.1).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_random_start_is_of_the_key_and_the_index(norm):
    key = jax.random.key(3)
    three = starts((3, 2, 2, 3), key=key, epsilon=1.0, norm=norm)
    assert not np.allclose(three[0], three[1])
    assert not np.allclose(three, starts((3, 2, 2, 3), key=jax.random.key(4), epsilon=1.0, norm=norm))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.array([2, 0]))
    part = starts((2, 2, 2, 3), key=keys, epsilon=1.0, norm=norm)
    np.testing.assert_allclose(part, three[[2, 0]], rtol=1e-6)
    clipped = starts((3, 2, 2, 3), key=key, epsilon=1.0, norm=norm, bounds=(-0.1, 0.2))
    np.testing.assert_allclose(clipped, np.clip(three, -0.1, 0.2), rtol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_unknown_class_is_nan_inside_jit(linear, linear_images, norm):
    attack = jax.jit(
        lambda labels: jaxviz.pgd(linear.model, linear_images, labels, epsilon=0.1, norm=norm, bounds=(-3, 3))
    )
    unknown = np.isnan(attack(jnp.array([0, 7, -1, 1, 2, 3]))).all((1, 2, 3))
    np.testing.assert_array_equal(unknown, [False, True, True, False, False, False])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_composes_with_jit_and_vmap(linear, linear_images, norm):
    expected = jaxviz.pgd(linear.model, linear_images, LABELS, epsilon=0.1, norm=norm)

    def one(image, label, epsilon):
        return jaxviz.pgd(linear.model, image[None], label[None], epsilon=epsilon, norm=norm)[0]

    found = jax.jit(jax.vmap(one, (0, 0, None)))(linear_images, jnp.asarray(LABELS), 0.1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
