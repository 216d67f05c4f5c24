"""scripts/bench_gpu.py, with tiny sizes on a CPU: it runs, and writes what it found."""

import json

import pytest
from refusals import script

KEYS = {
    "throughput": {"modality", "rows", "compiled", "positions_per_s", "mfu", "peak_gib"},
    "comparison": {"what", "positions_per_s"},
    "finetuning": {"task", "dtype", "examples_per_s"},
    "precision": {"largest_relative_difference"},
    "kernels": {"kernels", "milliseconds"},
}


def test_figures_are_written_after_every_stage_and_a_stage_that_fails_stops_no_other(tmp_path, monkeypatch):
    main = script("bench_gpu")

    def broken(bench):
        raise RuntimeError("a kernel failed")

    monkeypatch.setitem(main.__globals__, "STAGES", (broken, *main.__globals__["STAGES"]))
    monkeypatch.setitem(main.__globals__["SECONDS"], "broken", 10)
    out = tmp_path / "bench.json"
    stages = [stage for stage in KEYS if stage != "kernels"]
    main(["--tiny", "--out", str(out), "--only", *stages, "broken"])
    report = json.loads(out.read_text())
    assert report["failed"] == {"broken": "RuntimeError: a kernel failed"}
    assert set(report["seconds"]) == {"broken", *stages}
    for stage, keys in KEYS.items():
        assert report[stage], stage
        for row in report[stage]:
            assert keys <= set(row) or "missing" in row
    assert {row["modality"] for row in report["throughput"]} == {"pixel", "text", "pair"}
    assert all(row["positions_per_s"] > 0 for row in report["throughput"])
    assert report["precision"][0]["largest_relative_difference"] < 0.05


def test_no_stage_begins_when_its_time_is_up(tmp_path):
    out = tmp_path / "bench.json"
    script("bench_gpu")(["--tiny", "--out", str(out), "--seconds", "0"])
    report = json.loads(out.read_text())
    assert set(report["failed"].values()) == {"TimeoutError: no time is left"}


def test_an_unknown_stage_is_refused():
    with pytest.raises(SystemExit):
        script("bench_gpu")(["--only", "everything"])
