"""What does not fit between a recipe and a store is said in one message, with what would mend each."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from smilevlm.errors import CheckpointError, LayoutError, PromptError, SettingsError, StoreError
from smilevlm.recipes import find_recipe
from smilevlm.store import PreparedSet
from smilevlm.training.config_checks import check_config, find_config_problems
from smilevlm.training.resolve import with_overrides


@pytest.fixture
def folder_store(prepared_store, tmp_path):
    """The small store, as if it were a folder of one's own; it holds neutral as well."""
    store = shutil.copytree(prepared_store, tmp_path / "store")
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, "layout": "folder"}))
    return PreparedSet(store)


@pytest.fixture
def prepared(prepared_store):
    return PreparedSet(prepared_store)


def test_the_demo_on_a_folder_says_all_at_once(folder_store):
    with pytest.raises(SettingsError) as caught:
        check_config(find_recipe("demo"), folder_store, [0])
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "does not fit", "in 5 things", "views.size is 48", "--set prepare.views.size=48", "holds folder",
        "--set protocol=folder", "lacks neutral", "--set prompt_set=basic_expressions_neutral",
        "5 folds for 2 subjects", "--set num_folds=2", "do not fill one batch of 32", "--set optimiser.batch_size=7",
        "The recipe `folder` fits itself",
    ):  # fmt: skip
        assert part in message


def test_with_what_the_message_says_the_recipe_fits(folder_store):
    with pytest.raises(SettingsError) as caught:
        check_config(find_recipe("demo"), folder_store, [0])
    (all_together,) = re.findall(r"All together: ((?:--set \S+ ?)+)", str(caught.value).replace(". The", " The"))
    config = with_overrides(find_recipe("demo"), [each for each in all_together.split() if each != "--set"])
    assert not list(find_config_problems(config, folder_store, [0]))


@pytest.mark.parametrize(
    ("overrides", "kind", "said"),
    [
        (["prepare.views.kind=depth"], StoreError, r"views\.kind is 'geometry'.*--set prepare\.views\.kind=geometry"),
        (["prepare.views.angles_deg=[0]"], StoreError, r"--set prepare\.views\.angles_deg=\[-30\.0,0\.0,30\.0\]"),
        (["protocol=folder"], StoreError, r"holds bu3dfe, .* needs folder; --set protocol=bu3dfe_subset1"),
        (["protocol=bu3dfe_subset1_60"], LayoutError, "draws 60 subjects"),
        (["prompt_set=micro_expressions"], PromptError, r"lacks .*--set prompt_set=basic_expressions"),
        (["prompt_set=no_such"], PromptError, r"no_such.*--set prompt_set=basic_expressions"),
        (["num_folds=9"], SettingsError, r"9 folds for 2 subjects.*--set num_folds=2"),
        (["optimiser.batch_size=100"], SettingsError, r"fold 0 has 6 training.*--set optimiser\.batch_size=6"),
        (["validation.share=0.9"], SettingsError, "leaves none"),
        (["pairing=pseudo"], SettingsError, r"needs a teacher.*--set pseudo\.teacher=RUN"),
        (["pairing=pseudo", "pseudo.teacher=/no/such"], CheckpointError, r"pseudo\.teacher /no/such is no folder"),
        (["start_from=/no/such"], CheckpointError, r"start_from /no/such is no folder.*--set start_from=RUN"),
    ],
)
def test_one_misfit_is_an_error_of_its_own_kind(prepared, make_tiny_config, overrides, kind, said):
    with pytest.raises(kind, match=said) as caught:
        check_config(make_tiny_config(*overrides), prepared, [0])
    assert "All together" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "number"),
    [
        (["num_folds=9", "prompt_set=no_such"], 2),
        (["num_folds=9", "prompt_set=no_such", "optimiser.batch_size=99"], 3),
        (["num_folds=9", "start_from=/no", "prepare.views.size=64", "optimiser.batch_size=99"], 4),
        (["pairing=pseudo", "num_folds=3"], 2),
        (["protocol=folder", "prompt_set=micro_expressions", "num_folds=4"], 3),
    ],
)
def test_several_are_counted(prepared, make_tiny_config, overrides, number):
    with pytest.raises(SettingsError, match=f"in {number} things.*All together"):
        check_config(make_tiny_config(*overrides), prepared, [0])


def test_a_recipe_that_fits_passes(prepared, make_tiny_config):
    check_config(make_tiny_config(), prepared, [0, 1])
