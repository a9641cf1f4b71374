"""The command line, in this process and as its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pmlik
from pmlik.cli import main

MODEL = """
import pymc as pm
with pm.Model() as model:
    p = pm.Beta("p", 2, 2)
    q = pm.Deterministic("q", 1 - p)
    pm.Binomial("y", n=10, p=p, observed=2)
with pm.Model() as other:
    mu = pm.Normal("mu", 0, 10)
    pm.Normal("z", mu, 1, observed=[1.0, 2.0])
if __name__ == "__main__":
    raise SystemExit("not to be run as a script")
"""

SEPARATED = """
import pymc as pm
with pm.Model() as only:
    b = pm.Normal("b", 0, 5)
    pm.Bernoulli("y", logit_p=b * [-2.0, -1.0, 1.0, 2.0], observed=[0, 0, 1, 1])
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "two models.py"
    path.write_text(MODEL)
    return path


def test_a_table_is_printed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(file), "--no-sample", "--seed", "1"]) == 0
    out = capsys.readouterr().out
    assert "0.20" in out
    assert "0.25" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_model_is_chosen_by_name(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "it.json"
    assert main([f"{file}:other", "--no-sample", "-o", str(target)]) == 0
    assert json.loads(target.read_text())["table"]["mu"]["MLE"] == pytest.approx(1.5)


def test_options_reach_the_sampler(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "it.nc"
    options = ["--draws", "60", "--chains", "2", "--seed", "3", "--var-names", "q"]
    status = main([str(file), *options, "-o", str(target)])
    loaded = pmlik.load(target)
    sizes = loaded.posterior.tree["posterior"].dataset.sizes
    assert (sizes["chain"], sizes["draw"]) == (2, 60)
    assert loaded.random_seed == 3
    assert list(loaded.table.index) == ["q"]
    assert status == int(any(flag.severity == "error" for flag in loaded.flags))


def test_an_error_flag_is_status_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "separated.py"
    path.write_text(SEPARATED)
    assert main([str(path), "--no-sample"]) == 1
    assert "there is no finite maximum" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["none.py"], "there is no such file"),
        (["{file}:p"], "'p' is .*, need a pm.Model"),
        (["{file}:nothing"], "'nothing' is NoneType"),
        (["{file}", "-o", "report.docx"], "ends in none of"),
        (["{file}", "-o", "no/report.html"], "there is no folder"),
        (["{file}", "--draws", "0"], "--draws: got 0"),
        (["{file}", "--draws", "many"], "invalid int"),
        (["{file}", "--seed", "-1"], "random_seed: got -1"),
        (["{file}", "--var-names", "r", "--no-sample"], "'r' not in the model"),
    ],
)
def test_bad_usage_is_status_two(arguments, message, file, capsys) -> None:
    import re

    assert main([part.format(file=file) for part in arguments]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "it makes no pm.Model"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("raise SystemExit(3)", r"ended by itself \(exit 3\)"),
        (MODEL.replace("as model", "as first"), r"2 models \(first, other\). Name one"),
    ],
)
def test_a_file_that_is_no_model_is_status_two(source, message, tmp_path, capsys) -> None:
    import re

    path = tmp_path / "it.py"
    path.write_text(source)
    assert main([str(path)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_place_that_can_not_be_written_is_refused_before_any_work(
    file, tmp_path, capsys, monkeypatch
) -> None:
    def estimate(*_, **__):
        raise AssertionError

    monkeypatch.setattr("pmlik.cli.compare", estimate)
    (tmp_path / "folder.html").mkdir()
    assert main([str(file), "-o", str(tmp_path / "folder.html")]) == 2
    assert "a folder is there" in capsys.readouterr().err
    monkeypatch.setattr("pmlik.cli.os.access", lambda *_: False)
    assert main([str(file), "-o", str(tmp_path / "it.html")]) == 2
    assert "can't be written: no permission" in capsys.readouterr().err


def test_it_runs_as_a_module(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "it.md"
    command = [sys.executable, "-m", "pmlik", str(file), "--no-sample", "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, f"{target}\n")
    assert target.read_text().startswith("**Likelihood and posterior of 2 quantities")


MAIN = """
import argparse, pymc as pm
parser = argparse.ArgumentParser()
parser.add_argument("--successes", type=int, default=1)

def make():
    with pm.Model() as model:
        pm.Binomial("y", n=10, p=pm.Beta("p", 1, 1), observed=parser.parse_args().successes)
    return model

def fails():
    number = 0
    return 1 / number

if __name__ == "__main__":
    under = make()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(MAIN)
    return path


@pytest.mark.parametrize("name", [":make", ""])
def test_factories_guarded_models_and_arguments_of_the_script(name, script, tmp_path) -> None:
    target = tmp_path / "it.json"
    options = ["--no-sample", "-o", str(target), "--", "--successes", "3"]
    assert main([f"{script}{name}", *options]) == 0
    assert json.loads(target.read_text())["table"]["p"]["MLE"] == pytest.approx(0.3)


def test_the_line_that_raised_is_shown(script, capsys) -> None:
    assert main([f"{script}:fails"]) == 2
    err = capsys.readouterr().err
    assert "raised ZeroDivisionError: division by zero" in err
    assert "script.py, line 13: return 1 / number" in err
    assert "Traceback" not in err


def test_a_bambi_model_is_taken_as_it_is(tmp_path, monkeypatch) -> None:
    source = """
import pymc as pm
class Backend: ...
class Formula:
    built = False
    backend = Backend()
    def build(self):
        with pm.Model() as self.backend.model:
            pm.Binomial("y", n=10, p=pm.Beta("p", 1, 1), observed=2)
fit = Formula()
"""
    path = tmp_path / "formula.py"
    path.write_text(source)
    assert main([str(path), "--no-sample"]) == 0


def test_options_before_the_file_and_draws_from_a_file(file, tmp_path) -> None:
    draws, target = tmp_path / "draws.nc", tmp_path / "page.html"
    p = np.random.default_rng(1).beta(4, 10, size=(2, 500))
    xr.Dataset({"p": (("chain", "draw"), p)}).to_netcdf(draws, engine="h5netcdf")
    options = ["--posterior", str(draws), "--ci-prob", "0.8", "--ci-kind", "hdi"]
    options += ["--title", "Two of ten", "-o", str(target), "--var-names", "p", "q"]
    assert main([*options, str(file)]) == 0
    page = target.read_text()
    assert "<title>Two of ten" in page
    assert "80% HDI" in page


def test_an_interruption_is_status_130_and_keeps_what_there_is(file, tmp_path, monkeypatch) -> None:
    target = tmp_path / "it.json"

    def interrupt(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("pmlik.inference.sample.run_pymc_sample", interrupt)
    assert main([str(file), "-o", str(target)]) == 130
    assert json.loads(target.read_text())["table"]["p"]["MLE"] == pytest.approx(0.2)
    monkeypatch.setattr("pmlik.cli.compare", interrupt)
    assert main([str(file), "-o", str(tmp_path / "none.json")]) == 130
    assert not (tmp_path / "none.json").exists()
