"""Steps that are not finite are masked, with a warning."""

from __future__ import annotations

import numpy as np
import pytest

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.extractors.sound import finite_features


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_step_that_is_not_finite_is_masked_and_zero(bad):
    values = np.ones((4, 3), np.float32)
    values[1, 2] = values[3, 0] = bad
    features = finite_features(values, name="my set")
    assert features.valid.tolist() == [True, False, True, False]
    assert features.values.tolist() == [[1, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert features.warnings == ("2 of 4 steps of my set have values that are not finite and are masked",)


def test_finite_features_are_as_they_were():
    values = np.ones((4, 3), np.float32)
    features = finite_features(values, name="my set")
    assert features.values is values
    assert (features.valid, features.warnings) == (None, ())


def test_a_sound_without_a_finite_step_fails():
    with pytest.raises(FeatureError, match="my set is not finite in any of the 2 steps"):
        finite_features(np.full((2, 3), np.nan, np.float32), name="my set")
