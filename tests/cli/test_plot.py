"""`--plot` of the evaluations: charts in the terminal, PNG and SVG files, over the sandbox."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree

import pytest

from anytrack_async.cli.plot import TERMINAL, Chart, Plot

FULL = "█"


@pytest.fixture
def conversion_id(run, sandbox) -> str:
    """AnyTrack's id of a sale over 19.80."""
    sale = ("--order-id", "1", "--revenue", "19.80", "--click-id", "click-1")
    result = run("track", "sale", *sale, "--email", "jane@example.com", "--json")
    return json.loads(result.out)["conversion_id"]


@pytest.fixture(params=["daily", "range", "affiliates", "attribution"])
def command(request, conversion_id) -> tuple[str, ...]:
    return {
        "daily": ("report", "daily"),
        "range": ("report", "range", "--from", "2d"),
        "affiliates": ("affiliates", "top"),
        "attribution": ("attribution", conversion_id),
    }[request.param]


def lines_with(text: str, output: str) -> list[str]:
    return [line for line in output.splitlines() if text in line]


def day(ago: int = 0) -> str:
    return (datetime.now(UTC).date() - timedelta(days=ago)).isoformat()


# In the terminal


def test_a_day_has_a_bar_for_the_day_and_each_source_and_campaign(run, conversion_id):
    report = json.loads(run("report", "daily", "--json").out)
    result = run("report", "daily", "--plot")

    assert result.code == 0
    for name in (day(), *report["by_source"], *report["by_campaign"]):
        (row,) = lines_with(f"{name}  19.80┤", result.out)
        assert FULL in row


def test_the_days_of_a_period_are_from_top_to_bottom(run, conversion_id):
    result = run("report", "range", "--plot", "--from", "40d")

    rows = lines_with("┤", result.out)
    assert [row.strip()[:10] for row in rows] == [day(ago) for ago in range(40, -1, -1)]
    assert [FULL in row for row in rows] == [False] * 40 + [True]
    assert "19.80" in rows[-1]


@pytest.mark.parametrize(
    ("metric", "field", "form"),
    [("revenue", "revenue", ",.2f"), ("conversions", "conversions", ","), ("epc", "epc", ",.4f")],
)
def test_affiliates_have_the_value_that_they_are_sorted_by(run, conversion_id, metric, field, form):
    (best,) = json.loads(run("affiliates", "top", "--limit", "1", "--json").out)
    result = run("affiliates", "top", "--by", metric, "--limit", "1", "--plot")

    value = format(Decimal(str(best[field])), form)
    (row,) = lines_with("┤", result.out)
    assert f"{best['affiliate_id']}  {value}┤" in row


def test_the_shares_of_touchpoints(run, conversion_id):
    weights = json.loads(run("attribution", conversion_id, "--json").out)["weights"]
    result = run("attribution", conversion_id, "--plot")

    rows = lines_with("┤", result.out)
    assert len(rows) == len(weights)
    for row, (name, share) in zip(rows, weights.items(), strict=True):
        assert f"{name}  {float(share):.1%}┤" in row
    assert "last_click" in result.out


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (1.0, -3.0, 0.0), (0.0, 0.0, 2.0)])
def test_every_bar_has_its_row(capsys, values):
    names = ("first", "second", "third")
    bars = [(name, value, str(value)) for name, value in zip(names, values, strict=True)]

    Plot(TERMINAL).draw([Chart("title", bars)])

    rows = lines_with("┤", capsys.readouterr().out)
    assert [FULL in row for row in rows] == [value != 0 for value in values]
    for row, name, value in zip(rows, names, values, strict=True):
        assert f"{name}  {value}┤" in row


def test_a_name_cannot_command_the_terminal(capsys):
    Plot(TERMINAL).draw([Chart("title\x1b[2J", [("a\x1b[31mb\n" + "c" * 99, 1.0, "1")])])

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "a?[31mb?ccc" in out
    assert "…  1┤" in out


def test_nothing_to_draw_is_said(capsys):
    Plot(TERMINAL).draw([Chart("title", [])])

    written = capsys.readouterr()
    assert written.out == ""
    assert "no values to draw" in written.err


# As a file


def test_a_png_file(run, command, tmp_path):
    path = tmp_path / "chart.png"

    result = run(*command, "--plot", path)

    assert (result.code, result.out) == (0, f"wrote {path}\n")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_an_svg_file_has_the_names_and_values(run, conversion_id, tmp_path):
    path = tmp_path / "chart.SVG"

    assert run("report", "range", "--from", "1d", "--plot", path).code == 0

    root = ElementTree.parse(path).getroot()
    texts = {text.strip() for text in root.itertext()}
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {day(), day(1), "19.80", "0.00"} <= texts


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_names_of_any_letters_are_drawn(tmp_path, suffix):
    path = tmp_path / f"chart.{suffix}"

    Plot(str(path)).draw([Chart("$^$", [("$x^$", Decimal("1.50"), "1.50"), ("日本", 2, "2")])])

    assert path.stat().st_size > 1000
    if suffix == "svg":
        assert {"$x^$", "日本"} <= {*ElementTree.parse(path).getroot().itertext()}


# Wrong usage


def test_another_suffix_is_wrong_usage_of_each_command(run, command):
    assert run(*command, "--plot", "chart.pdf").code == 2


@pytest.mark.parametrize("name", ["chart.pdf", "chart", "png"])
def test_another_suffix_is_explained_before_anytrack_is_asked(run, sandbox, name):
    result = run("attribution", "absent", "--plot", name)

    assert result.code == 2
    assert name in result.err
    assert ".png or .svg" in result.err


@pytest.mark.parametrize(("value", "library"), [((), "plotext"), (("a.png",), "matplotlib")])
def test_a_missing_extra_is_explained(run, sandbox, monkeypatch, value, library):
    monkeypatch.setitem(sys.modules, library, None)

    result = run("report", "daily", "--plot", *value)

    assert result.code == 2
    assert f"--plot needs {library}: pip install 'anytrack_async[plot]'" in result.err


def test_a_chart_is_not_json(run, command):
    result = run(*command, "--plot", "--json")

    assert result.code == 2
    assert "give only one" in result.err


def test_a_file_that_cannot_be_written_is_an_error(run, conversion_id, tmp_path):
    result = run("affiliates", "top", "--plot", tmp_path / "absent" / "chart.png")

    assert result.code == 1
    assert "absent" in result.err
