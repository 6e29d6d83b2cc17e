import numpy as np
import pytest

from smilevlm.errors import ResultError
from smilevlm.reporting.run_figures import binned
from smilevlm.reporting.source import read_training_log, small_png
from smilevlm.reporting.table import Column, Missing, Table, angle_text, cell_text, latex, to_csv, to_latex, to_markdown

HEADER = "step,epoch,loss_total,loss_multi_view,loss_alignment,loss_redundancy,learning_rate"
TABLE = Table(
    name="a_table",
    title="50 % & more",
    note="x_y",
    columns=(
        Column(key="name", title="Name"),
        Column(key="share", title="ShardSpec", kind="percent"),
        Column(key="gain", title="Gain", kind="points"),
        Column(key="range", title="Range", kind="percent_interval"),
    ),
    rows=(("a|b_c", 0.12345, -0.0123, (0.1, 0.25)), ("plain", Missing(reason="not run"), 0.5, Missing(reason="one_1"))),
)


def test_latex_special_characters():
    assert latex(r"\&%$#_{}~^") == r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}"
    assert latex("−30° <a> [x]") == r"\textminus{}30\textdegree{} \textless{}a\textgreater{} {[}x{]}"
    text = to_latex(TABLE)
    assert r"\caption{50 \% \& more. x\_y}" in text
    assert r"    a\textbar{}b\_c & 12.3 & \textminus{}1.2 & 10.0--25.0 \\" in text
    assert r"    plain & \emph{not run} & +50.0 & \emph{one\_1} \\" in text
    assert r"\begin{tabular}{lrrr}" in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_csv_and_markdown():
    lines = to_csv(TABLE).splitlines()
    assert lines == [
        "name,share,gain,range_low,range_high",
        "a|b_c,0.12345,-0.0123,0.1,0.25",
        "plain,not run,0.5,one_1,one_1",
    ]
    assert r"| a\|b\_c | 12.3 | −1.2 | 10.0–25.0 |" in to_markdown(TABLE)


def test_numbers_for_people():
    assert cell_text(-0.0004, "points") == "0.0"
    assert cell_text((-0.012, 0.034), "points_interval") == "−1.2 to +3.4"
    assert cell_text(1200, "count") == "1200"
    assert [angle_text(angle) for angle in (-30.0, 0.0, 12.5)] == ["−30°", "0°", "+12.5°"]


def test_training_log(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(f"{HEADER},validation_accuracy,more\n0,0,3,1,1,,1e-4,,x\n1,0,2,1,0.5,,1e-4,0.7,x\n")
    log = read_training_log(path)
    assert log.steps.tolist() == [0, 1]
    assert np.isnan(log.columns["loss_redundancy"]).all()
    assert log.columns["validation_accuracy"][1] == 0.7
    assert "more" not in log.columns


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: the training log lacks the columns step"),
        ("step,epoch\n", "lacks the columns loss_total"),
        (HEADER + "\n", "has no rows"),
        (HEADER + "\n0,0,1,1,1,1,x\n", ":2: column 'learning_rate': 'x' is no number"),
        (HEADER + "\n0,0,1,1,1,1,1\n1,0,1\n", ":3: the row ends before column 'loss_multi_view'"),
        (HEADER + "\n,0,1,1,1,1,1\n", ":2: the step is empty"),
    ],
)
def test_malformed_training_logs(tmp_path, text, message):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(ResultError, match=message):
        read_training_log(path)


def test_bins_are_means_and_skip_empty_cells():
    steps, means = binned(np.arange(6.0), np.array([1, 3, np.nan, 5, 7, 9]), 2)
    assert means.tolist() == [3.0, 8.0]
    assert steps[0] == pytest.approx(4 / 3)


def test_large_images_are_made_small(tmp_path):
    from PIL import Image

    Image.new("RGB", (600, 300)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(small_png(tmp_path / "a.png"))
    with Image.open(tmp_path / "b.png") as image:
        assert image.size == (224, 112)
