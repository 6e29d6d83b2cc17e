from __future__ import annotations

import pytest

from smilevlm.cli.main import main
from smilevlm.deprecation import renamed_attributes
from smilevlm.recipes import find_recipe
from smilevlm.training import by_current_names, with_overrides


def test_the_warning_is_at_the_line_that_uses_the_former_name():
    module_attribute = renamed_attributes("smilevlm.former", {"Settings": "smilevlm.errors.SettingsError"})
    with pytest.warns(FutureWarning, match=r"smilevlm.former.Settings is deprecated.*errors.SettingsError") as caught:
        module_attribute("Settings")
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning, match="use abstain_threshold") as caught:
        with_overrides(find_recipe("demo"), ["unsure_below=0.5"])
    assert caught[0].filename == __file__


def test_overrides_by_their_current_names():
    with pytest.warns(FutureWarning, match=r"use loss\.normalise_terms") as caught:
        overrides = by_current_names(["loss.comparable=true", "seed=3", "loss.comparable"])
    assert len(caught) == 2
    assert overrides == ["loss.normalise_terms=true", "seed=3", "loss.normalise_terms"]
    assert by_current_names(overrides) == overrides


@pytest.mark.parametrize("recipe", ["demo", "folder"])
def test_the_command_warns_once(recipe, store_of_four, tmp_path):
    words = ["train", recipe, "--store", str(store_of_four), "--out", str(tmp_path / "run"), "--fold", "99"]
    with pytest.warns(FutureWarning, match="use abstain_threshold") as caught:
        assert main([*words, "--set", "unsure_below=0.5"]) == 1
    assert len(caught) == 1
