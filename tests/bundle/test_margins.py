"""Promises about margins: they say what scores say without saturating, and their gradients are right."""

from __future__ import annotations

import icehouse
import numpy as np
import pytest
from icehouse import errors
from icehouse.bundle import portable, scorers
from icehouse.classify import heads

D = 12
KINDS = {
    "mlp": "mlp:hidden=9-5,epochs=3",
    "mlp-bn": "mlp-bn:hidden=20,epochs=3",
    "pyramid": "pyramid:widths=2-7-3,epochs=3",
    "svm": "svm",
    "xgboost": "xgboost:n_estimators=10",
    "logistic": "logistic",
    "knn": "knn",
    "lda": "lda",
    "forest": "forest:n_estimators=20",
    "dummy": "dummy",
}
SMOOTH = [
    *(KINDS[kind] for kind in ("mlp", "mlp-bn", "pyramid", "svm", "logistic", "lda")),
    "svm:kernel=linear",
    "svm:kernel=poly,degree=2,coef0=1",
    "svm:kernel=sigmoid,gamma=0.01",
]


def drawn(classes: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(classes)
    y = np.arange(90) % classes
    X = generator.normal(size=(90, D)) + np.eye(classes, D)[y]
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def scorer(text: str, classes: int) -> portable.Scorer:
    spec = heads.parse(text)
    return portable.scorer_of(spec, spec.estimator(1).fit(*drawn(classes)))


def softmax(margins: np.ndarray) -> np.ndarray:
    shares = np.exp(margins - margins.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def test_every_kind_of_head_has_margins_or_says_that_it_has_no_gradient() -> None:
    assert set(KINDS) == set(portable.KINDS)
    for kind, text in KINDS.items():
        assert (scorer(text, 2).slope is not None) == (kind in scorers.DIFFERENTIABLE)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_margins_are_of_each_class_and_agree_with_the_scores(kind, classes) -> None:
    head = scorer(KINDS[kind], classes)
    X, _ = drawn(classes)
    margins, scores = head.margins(X), head.scores(X)
    assert (margins.shape, margins.dtype) == ((len(X), classes), np.float64)
    if kind == "svm" and classes == 2:
        np.testing.assert_allclose(margins, scores / 2, atol=1e-12)
    elif kind == "svm":  # pairs that contradict each other may differ from the votes
        assert np.mean(margins.argmax(axis=1) == scores.argmax(axis=1)) > 0.9
    elif kind in ("knn", "forest"):
        voters = 5 if kind == "knn" else 20
        np.testing.assert_allclose(
            softmax(margins), (scores * voters + 0.5) / (voters + classes / 2), atol=1e-9
        )
    else:
        np.testing.assert_allclose(softmax(margins), scores, atol=1e-6)


@pytest.mark.parametrize("kind", ["mlp", "svm", "xgboost", "logistic", "lda"])
def test_what_scores_put_in_order_margins_put_in_the_same(kind) -> None:
    head = scorer(KINDS[kind], 2)
    X, _ = drawn(2)
    margins, scores = head.margins(X), head.scores(X)
    order = np.argsort(scores[:, 1], kind="stable")
    assert (np.diff((margins[:, 1] - margins[:, 0])[order]) >= -1e-5).all()


@pytest.mark.parametrize("kind", ["mlp", "logistic", "lda"])
def test_margins_go_on_where_probabilities_end(kind) -> None:
    head = scorer(KINDS[kind], 2)
    far, farther = (drawn(2)[0] * scale for scale in (1e5, 2e5))
    certain = np.isin(head.scores(far)[:, 0], (0, 1))
    assert certain.mean() > 0.8
    near, away = (np.ptp(head.margins(X)[certain], axis=1) for X in (far, farther))
    np.testing.assert_array_less(1.5 * near, away)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("text", SMOOTH)
def test_gradients_are_what_differences_say(text, classes) -> None:
    head = scorer(text, classes)
    X = drawn(classes)[0][:7]
    weights = np.random.default_rng(3).normal(size=(len(X), classes))
    step = 1e-5
    numerical = np.empty_like(X)
    for column in range(D):
        moved = np.eye(D)[column] * step
        ahead, behind = head.margins(X + moved), head.margins(X - moved)
        numerical[:, column] = ((ahead - behind) * weights).sum(axis=1) / (2 * step)
    np.testing.assert_allclose(head.gradients(X, weights), numerical, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["xgboost", "forest", "knn", "dummy"])
def test_a_head_without_a_gradient_says_which_have_one(kind) -> None:
    with pytest.raises(
        errors.UsageError, match=r"no gradient; mlp, mlp-bn, svm, logistic, lda, pyramid have one"
    ):
        scorer(KINDS[kind], 2).gradients(np.zeros((1, D)), np.ones((1, 2)))


class TestABundle:
    """Its vectors are raw ones: what is done to them first belongs to the margins and to the gradients."""

    @pytest.mark.parametrize("reduce", [None, 5])
    @pytest.mark.parametrize("head", ["svm", "logistic"])
    def test_margins_and_gradients_go_through_the_preparation(
        self, head, reduce, make_cache, two_clouds
    ) -> None:
        cache = make_cache(7 + 3 * two_clouds[0], two_clouds[1])
        bundle = icehouse.fit_head(cache, head, reduce=reduce, note=lambda _: None).bundle
        X = (7 + 3 * two_clouds[0][:5]).astype(np.float64)
        margins = bundle.margins(X)
        likelier = bundle.scorer.scores(bundle.preparation.apply(X)).argmax(axis=1)
        assert margins.argmax(axis=1).tolist() == likelier.tolist()
        step = 1e-4
        for target in (0, 1):
            numerical = [
                np.subtract(*(bundle.margins(X + sign * step * row) @ np.eye(2)[target] for sign in (1, -1)))
                for row in np.eye(16)
            ]
            # Of two classes the margins are ± half of what they differ by.
            np.testing.assert_allclose(
                bundle.gradients(X, target), np.array(numerical).T / step, rtol=1e-3, atol=1e-6
            )

    def test_calibration_does_not_touch_margins(self, make_cache, two_clouds) -> None:
        cache = make_cache(*two_clouds)
        plain, calibrated = (
            icehouse.fit_head(cache, "logistic", calibrate=calibrate, note=lambda _: None).bundle
            for calibrate in (False, True)
        )
        np.testing.assert_array_equal(plain.margins(two_clouds[0]), calibrated.margins(two_clouds[0]))

    def test_a_bundle_whose_numbers_multiply_to_infinity_has_no_margins(self, make_cache, two_clouds) -> None:
        bundle = icehouse.fit_head(make_cache(*two_clouds), "logistic", note=lambda _: None).bundle
        with pytest.raises(errors.BundleDamaged, match="infinite"):
            bundle.margins(np.full((1, 16), np.inf))
