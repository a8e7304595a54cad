"""`make gpu` without a GPU: the same code with small networks on the processor."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import check_gpu
from check_gpu import Part
from gpu import copies, whisper

SCRIPT = Path(check_gpu.__file__)


def figures(file):
    return json.loads(file.read_text("utf-8"))


def test_every_part_that_needs_no_server_holds_what_must_be_so(tmp_path):
    out = tmp_path / "figures.json"
    run = subprocess.run([sys.executable, SCRIPT, "--dry", "--out", out], capture_output=True, text=True, timeout=250)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    found = figures(out)
    assert found["missed"] == []
    assert found["parts"]["llava"]["same alone and in the crowd"] == "6 of 6"
    assert found["parts"]["llava"]["greedy tokens are those of generate"] == "yes"
    assert found["parts"]["graphs"]["same alone and in the crowd"] == "6 of 6"
    assert found["parts"]["graphs"]["a neighbour's keys and values are the same to the bit"] == "yes"
    assert found["parts"]["whisper"]["relative error of the logits"] < 1e-5
    assert found["parts"].keys() == {"card", "limits", "llava", "graphs", "diffusion", "whisper", "quantised"}


def test_a_part_that_fails_is_missed_and_keeps_no_other_from_being_run(tmp_path, monkeypatch):
    def fail(card, report):
        raise ValueError("no such kernel")

    monkeypatch.setattr(whisper, "run", fail)
    monkeypatch.setattr(copies, "run", lambda card, report: report.add("limits", seen=True))
    out = tmp_path / "figures.json"
    with pytest.raises(typer.Exit) as ended:
        check_gpu.main([Part.WHISPER, Part.COPIES], dry=True, out=out)
    assert ended.value.exit_code == 1
    assert figures(out)["missed"] == ["whisper: runs at all (ValueError: no such kernel)"]
    assert figures(out)["parts"]["limits"] == {"seen": True}


def test_without_a_gpu_it_says_what_can_be_tried(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check_gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(typer.Exit) as ended:
        check_gpu.main(None, dry=False, out=tmp_path / "figures.json")
    assert ended.value.exit_code == 2
    assert "--dry" in capsys.readouterr().out
