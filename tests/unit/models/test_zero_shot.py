import numpy as np
import pytest

from smilevlm.errors import CheckpointError, PromptError, SettingsError
from smilevlm.models import class_prototypes, predicted_classes, probabilities, zero_shot_scores

CLASSES = ("happy", "sad", "fear")


def fake_text_encoder(prompts):
    """Known answers: each word has an axis of its own, and the length says nothing."""
    axes = {"smile": 0, "joy": 1, "tears": 2, "fright": 3}
    return np.stack([np.eye(4)[axes[prompt]] * (index + 1) for index, prompt in enumerate(prompts)])


def prototypes(combine="mean"):
    prompts = ["smile", "joy", "tears", "fright"]
    return class_prototypes(fake_text_encoder(prompts), ["happy", "happy", "sad", "fear"], CLASSES, combine)


def test_mean_of_unit_prompts_by_hand():
    found = prototypes()
    half = 1 / np.sqrt(2)
    np.testing.assert_allclose(found.vectors, [[half, half, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    images = np.array([[2.0, 0, 0, 0], [0, 0, 3, 0], [0, 0, 4, 3]], dtype=np.float32)
    scores = zero_shot_scores(images, found)
    np.testing.assert_allclose(scores, [[half, 0, 0], [0, 1, 0], [0, 0.8, 0.6]], atol=1e-12)
    assert predicted_classes(scores).tolist() == [0, 1, 1]


def test_max_takes_the_nearest_prompt_of_a_class():
    image = np.array([[1.0, 0, 0.9, 0]])
    length = np.sqrt(1.81)
    np.testing.assert_allclose(zero_shot_scores(image, prototypes("max")), [[1 / length, 0.9 / length, 0]])
    assert predicted_classes(zero_shot_scores(image, prototypes("max"))).tolist() == [0]
    # The mean dilutes `smile` with `joy`.
    assert predicted_classes(zero_shot_scores(image, prototypes("mean"))).tolist() == [1]


def test_one_prompt_per_class_makes_both_equal():
    rng = np.random.default_rng(0)
    prompts, images = rng.normal(size=(3, 5)), rng.normal(size=(7, 5))
    mean = zero_shot_scores(images, class_prototypes(prompts, CLASSES, CLASSES, "mean"))
    most = zero_shot_scores(images, class_prototypes(prompts, CLASSES, CLASSES, "max"))
    np.testing.assert_allclose(mean, most, atol=1e-12)


def test_scores_follow_the_classes_not_the_order_of_prompts():
    rng = np.random.default_rng(1)
    prompts, names, images = rng.normal(size=(6, 5)), ["sad", "happy", "fear"] * 2, rng.normal(size=(4, 5))
    order = rng.permutation(6)
    first = zero_shot_scores(images, class_prototypes(prompts, names, CLASSES))
    second = zero_shot_scores(images, class_prototypes(prompts[order], [names[i] for i in order], CLASSES))
    np.testing.assert_allclose(first, second, atol=1e-12)


def test_ties_go_to_the_first_class():
    same = class_prototypes(np.tile(np.random.default_rng(2).normal(size=(1, 301)), (3, 1)), CLASSES, CLASSES)
    images = np.random.default_rng(3).normal(size=(50, 301)).astype(np.float32)
    assert predicted_classes(zero_shot_scores(images, same)).tolist() == [0] * 50
    assert predicted_classes(np.array([[0.1, 0.5, 0.5 + 1e-15]])).tolist() == [1]


def test_probabilities():
    shares = probabilities(np.array([[0.7, 0.0, 0.0], [0.0, 0.0, 0.0]]), 0.7)
    np.testing.assert_allclose(shares[0, 0], np.e / (np.e + 2))
    np.testing.assert_allclose(shares[1], 1 / 3)
    assert probabilities(np.array([[1.0, -1.0]]), 1e-4).tolist() == [[1.0, 0.0]]
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SettingsError, match="temperature"):
            probabilities(np.zeros((1, 2)), temperature)


@pytest.mark.parametrize(
    ("names", "classes", "combine", "error", "message"),
    [
        (["happy", "sad"], ("happy", "sad", "fear"), "mean", PromptError, "no prompt for fear"),
        (["happy", "pain"], ("happy",), "mean", PromptError, "prompts for pain"),
        (["happy", "happy"], ("happy",), "mean", PromptError, "opposite directions"),
        (["happy"], ("happy",), "mean", SettingsError, "2 prompt embeddings, but 1"),
        (["happy", "sad"], ("happy", "sad"), "median", SettingsError, "median"),
        (["happy", "sad"], ("happy", "happy"), "mean", SettingsError, "distinct"),
    ],
)
def test_unsound_prompts(names, classes, combine, error, message):
    with pytest.raises(error, match=message):
        class_prototypes(np.array([[1.0, 0.0], [-1.0, 0.0]]), names, classes, combine)


def test_embeddings_without_a_direction():
    images = np.ones((3, 4))
    images[1] = 0
    with pytest.raises(CheckpointError, match="1 of 3 image embeddings are zero or not finite, the first is number 1"):
        zero_shot_scores(images, prototypes())
    images[1] = np.nan
    with pytest.raises(CheckpointError):
        zero_shot_scores(images, prototypes())
    with pytest.raises(SettingsError, match="5 wide, the prototypes 4"):
        zero_shot_scores(np.ones((3, 5)), prototypes())
