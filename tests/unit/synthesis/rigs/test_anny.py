"""The built-in rig: one scale of intensities for its own weights and for those of the head model below it."""

from __future__ import annotations

import numpy as np
import pytest

from smilevlm.labels import actions_from_arkit
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.rigs.anny import actions_of_head_model
from smilevlm.synthesis.rigs.loading import load_rig


@pytest.mark.parametrize(("action", "full"), [("noseSneerLeft", 2.0), ("mouthPressRight", 0.6), ("browDownLeft", 1.0)])
def test_the_same_displacement_has_the_same_intensity(action, full):
    rig, model = load_rig("anny"), head_model()
    person = rig.draw_person(np.random.default_rng(1), sex="F")
    rest, shown = rig.heads(person, [{}, {action: 0.5}])
    model_rest, model_shown = model.heads_mm(person, [{}, {action: 0.5 * full}])
    np.testing.assert_allclose(shown - rest, (model_shown - model_rest) * person.size, atol=0.01)
    assert np.abs(shown - rest).max() > 1
    assert actions_of_head_model({action: 0.5 * full}) == actions_from_arkit({action: 0.5})
