"""What the package exports is there, and importing it alone stays light."""

import pytest

import smilevlm.evaluation as evaluation
from processes import run_python


@pytest.mark.parametrize("name", evaluation.__all__)
def test_every_exported_name_is_there(name):
    # A function, not the module of the same name.
    assert callable(getattr(evaluation, name))


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = evaluation.nothing


def test_heavy_libraries_are_loaded_by_what_needs_them():
    code = "import sys, smilevlm.evaluation; print({'torch', 'sklearn', 'matplotlib'} & set(sys.modules))"
    assert run_python("-c", code).stdout.strip() == "set()"


def test_the_old_name_of_pixel_relevance_works_for_one_release():
    from smilevlm.evaluation import relevance

    with pytest.warns(FutureWarning, match="pixel_relevance"):
        assert relevance.relevance is evaluation.pixel_relevance
