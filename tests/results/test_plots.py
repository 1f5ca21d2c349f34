"""Figures that say what they show, with any ids and any holes, and that leave matplotlib as it was."""

from __future__ import annotations

import subprocess
import sys
import warnings

import matplotlib
import numpy as np
import pytest
from PIL import Image

from spikefit import plots
from spikefit.plots.filters import strongest_pairs
from spikefit.plots.matrix import colour_limit
from spikefit.plots.style import shortened

NASTY = ("$3_a$", "a_b^c", "\\frac{", "%d & #", "神経細胞", "a very long unit id that does not fit anywhere at all")


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """Fewer dots per inch draw faster, and the tests look at none of them."""
    monkeypatch.setattr("spikefit.plots.style.DPI", 40)


def drawn(figure, path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.save_figure(figure, path)
    with Image.open(path) as image:
        return image.copy()


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_the_matrix_names_its_axes_its_units_and_its_hidden_block(make_result):
    figure = plots.plot_connectivity(make_result())
    axes, bar = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("pre (sends)", "post (receives)")
    assert bar.get_ylabel() == "connectivity (drive per spike, summed over lags)"
    assert [label.get_text() for label in axes.get_yticklabels()] == list(make_result().unit_id)
    assert {"hidden", "recorded"} <= set(texts(figure))
    assert "hidden" not in texts(plots.plot_connectivity(make_result(4, 0)))


def test_row_receives_column_sends_and_colours_are_centred_on_zero(make_result):
    weights = np.zeros((4, 4))
    weights[1, 3], weights[2, 0], weights[0, 0] = 2.0, -0.5, 50.0
    figure = plots.plot_connectivity(make_result(4, 0, connectivity=weights))
    (image,) = figure.axes[0].get_images()
    shown = image.get_array()
    assert shown[1, 3] == 2.0
    assert np.ma.getmaskarray(shown)[0, 0] or np.isnan(shown[0, 0])
    assert image.get_clim() == (-2.0, 2.0)  # the diagonal has no say
    assert image.cmap(0.5)[:3] == pytest.approx((0.97, 0.97, 0.97), abs=0.01)


def test_one_giant_does_not_wash_out_the_rest():
    weights = np.full((40, 40), 0.1)
    assert colour_limit(weights) == (0.1, 0)
    weights[0, 1] = 5.0
    assert colour_limit(weights) == (pytest.approx(0.1), 1)
    weights[1, 0] = -5.0
    assert colour_limit(weights)[1] == 3
    assert colour_limit(np.zeros((3, 3))) == (1.0, 0)
    assert colour_limit(np.full((3, 3), np.nan)) == (1.0, 0)


def test_another_order_moves_rows_and_columns_together(make_result):
    result = make_result(3, 0)
    figure = plots.plot_connectivity(result, order=[2, 0, 1])
    shown = figure.axes[0].get_images()[0].get_array()
    assert shown[0, 1] == result.connectivity[2, 0]
    with pytest.raises(ValueError, match="each of 3 units once"):
        plots.plot_connectivity(result, order=[0, 1])


@pytest.mark.parametrize(("n_visible", "n_hidden"), [(1, 0), (6, 2), (70, 3), (1, 3)])
@pytest.mark.parametrize("draw", [plots.plot_connectivity, plots.plot_training, plots.plot_filters])
def test_every_size_and_every_id_can_be_drawn(make_result, tmp_path, draw, n_visible, n_hidden):
    ids = tuple(f"{NASTY[k % 6]}{k}" for k in range(n_visible))
    image = drawn(draw(make_result(n_visible, n_hidden, ids=ids, name="$x_")), tmp_path / "figure.png")
    assert min(image.size) > 60
    assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_holes_do_not_break_a_figure(make_result, tmp_path):
    hole = make_result(
        3,
        1,
        connectivity=np.full((4, 4), np.nan),
        coupling_filters=np.full((4, 4, 10), np.nan),
        history={
            "objective": np.array([np.nan, -1.0]),
            "heldout": np.zeros(0),
            "newton_decrement": np.array([1.0, 0.0]),
        },
    )
    for draw in (plots.plot_connectivity, plots.plot_training, plots.plot_filters):
        drawn(draw(hole), tmp_path / "figure.png")
    assert "no training curves were kept" in texts(plots.plot_training(make_result(history={})))
    assert not plots.has_training(make_result(history={}))


def test_training_marks_the_best_step_and_the_decrement_is_logarithmic(make_result):
    figure = plots.plot_training(make_result())
    assert "best step (40)" in texts(figure)
    assert figure.axes[0].get_ylabel() == "objective (nats per bin)"
    assert figure.axes[0].get_xlabel() == "step of the fit"
    history = {
        "iteration": np.arange(3.0),
        "objective": np.array([-3.0, -2.0, -1.9]),
        "newton_decrement": np.array([1, 0.1, 0.01]),
    }
    top, bottom = plots.plot_training(make_result(4, 0, history=history)).axes
    assert bottom.get_yscale() == "log"
    assert bottom.get_ylabel() == "Newton decrement (nats)"
    assert bottom.get_xlabel() == "iteration"
    np.testing.assert_array_equal(top.get_lines()[0].get_ydata(), history["objective"])


def test_filters_are_those_of_the_strongest_pairs_in_ms(make_result):
    result = make_result()
    pairs = strongest_pairs(result, 5)
    edges = result.edges()
    expected = edges[np.argsort(-np.abs(edges["weight"]))[:5]]
    assert [(result.unit_id[post], result.unit_id[pre]) for post, pre in pairs] == [
        (edge["post_id"], edge["pre_id"]) for edge in expected
    ]
    figure = plots.plot_filters(result, top=5)
    line = figure.axes[0].get_lines()[-1]
    np.testing.assert_allclose(line.get_xdata(), result.lag_s * 1e3)
    np.testing.assert_array_equal(line.get_ydata(), result.coupling_filters[pairs[0]])
    assert figure.get_supxlabel() == "lag behind the sender's spike (ms)"
    assert figure.get_supylabel() == "drive per spike"


def test_the_same_figure_gives_the_same_bytes_in_every_format(make_result, tmp_path):
    for ending in ("png", "svg", "pdf"):
        images = []
        for _ in range(2):
            plots.save_figure(plots.plot_connectivity(make_result()), tmp_path / f"a.{ending}")
            images.append((tmp_path / f"a.{ending}").read_bytes())
        assert images[0] == images[1], ending
    assert ">pre (sends)<" in (tmp_path / "a.svg").read_text()  # text stays text


def test_no_window_and_no_global_state():
    code = (
        "import matplotlib, sys\nbefore = matplotlib.rcParams.copy()\n"
        "import pathlib, tempfile, types, numpy as np\nfrom spikefit import plots\n"
        "r = types.SimpleNamespace(unit_id=('a', 'b'), n_visible=2, n_hidden=0, connectivity=np.eye(2), name='x',\n"
        "    coupling_filters=np.zeros((2, 2, 1)), lag_s=np.ones(1), history={}, metrics={})\n"
        "for draw in (plots.plot_connectivity, plots.plot_training, plots.plot_filters):\n"
        "    plots.save_figure(draw(r), pathlib.Path(tempfile.mkdtemp()) / 'a.png')\n"
        "print('matplotlib.pyplot' in sys.modules, matplotlib.rcParams.copy() == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_long_names_lose_their_middle():
    assert shortened("short") == "short"
    assert shortened("abcdefghijklmnopqrstuvwxyz", 9) == "abcd…wxyz"
    assert len(shortened("x" * 100, 18)) == 18
    assert shortened("two\nlines") == "two lines"


def test_hidden_activity_stands_under_the_spikes_of_the_same_time(make_result, make_excerpt, tmp_path):
    result = make_result(ids=NASTY, excerpt=make_excerpt(6))
    figure = plots.plot_hidden(result)
    raster, *lanes = figure.axes
    assert len(lanes) == 2
    (spikes,) = raster.get_lines()
    np.testing.assert_array_equal(spikes.get_xdata(), result.excerpt.spike_time_s)
    assert raster.get_xlim() == (1.0, 3.0)
    assert lanes[-1].get_xlabel() == "time (s)"
    assert lanes[0].get_ylabel() == "hidden-0\n(Hz)"
    drawn(figure, tmp_path / "hidden.png")
    whole = plots.plot_hidden(make_result())
    assert len(whole.axes) == 2
    with pytest.raises(ValueError, match="no hidden activity"):
        plots.plot_hidden(make_result(n_hidden=0))


def test_shown_rates_are_those_of_the_excerpt_in_hz(make_result, make_excerpt):
    from spikefit.plots.activity import shown_rates

    result = make_result(excerpt=make_excerpt(6))
    time_s, rate_hz = shown_rates(result)
    np.testing.assert_allclose(time_s, np.arange(100, 300) * 0.01)
    np.testing.assert_allclose(rate_hz, result.hidden.expected_count[100:300] / 0.01)
    coarse_s, coarse_hz = shown_rates(result, most=50)
    assert coarse_s.size == 50
    np.testing.assert_allclose(coarse_hz.mean(axis=0), rate_hz.mean(axis=0))


def test_simulated_rates_lie_over_recorded_ones(make_result, add_free_runs, tmp_path):
    result = add_free_runs(make_result())
    figure = plots.plot_rates(result)
    (axes,) = figure.axes
    assert axes.get_xlabel() == "recorded rate (Hz)"
    points = axes.get_lines()[1].get_xydata()
    np.testing.assert_allclose(points[:, 1], 0.8 * points[:, 0])
    assert len(points) == 6
    drawn(figure, tmp_path / "rates.png")
    with pytest.raises(ValueError, match="no simulated rates"):
        plots.plot_rates(make_result())


def test_the_figures_of_a_result_are_those_it_has_data_for(make_result, make_excerpt, add_free_runs):
    full = add_free_runs(make_result(excerpt=make_excerpt(6)))
    assert list(plots.figures_of(full)) == ["connectivity", "training", "filters", "hidden", "rates"]
    assert list(plots.figures_of(make_result(n_hidden=0, history={}))) == ["connectivity", "filters"]


def test_a_recording_is_drawn_with_its_raster_and_its_rates(tmp_path):
    from spikefit.plots.recording import raster_stretch
    from spikefit.spikes import SpikeTrains

    rng = np.random.default_rng(0)
    trains = SpikeTrains.from_trains(
        {name: np.sort(np.concatenate([rng.uniform(0, 100, 50), rng.uniform(300, 310, 9)])) for name in NASTY},
        intervals_s=[[0, 100], [300, 310]],
    )
    figure = plots.plot_recording(trains, dropped=NASTY[:1])
    raster, bars, whole, _ = figure.axes
    start_s, stop_s = raster_stretch(trains)
    assert (start_s, stop_s) == (20.0, 80.0)
    for row, line in enumerate(raster.get_lines()):
        train = trains[NASTY[row]]
        np.testing.assert_array_equal(line.get_xdata(), train[(train >= 20) & (train < 80)])
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(trains.rate_hz)
    (steps,) = [patch for patch in whole.patches if hasattr(patch, "get_data")]
    values = np.asarray(steps.get_data().values)
    assert np.isnan(values[150])  # nothing was observed there, which is no rate of zero
    assert np.nanmean(values[:90]) == pytest.approx(300 / 100, rel=0.1)
    assert {"rate (Hz)", "all units (Hz)"} <= set(texts(figure))
    drawn(figure, tmp_path / "recording.png")
