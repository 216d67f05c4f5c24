from types import SimpleNamespace

import pytest
from fairseq.logging import metrics

from pixelgpt_fairseq.criterions import speed


def test_speed_is_logged_for_each_gpu_with_its_share_of_the_peak(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("fairseq.logging.meters.time.perf_counter", lambda: now.seconds)
    monkeypatch.setattr(speed, "_device_name", lambda outputs: "NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr(speed.torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(speed.distributed_utils, "get_data_parallel_world_size", lambda: 4)
    with metrics.aggregate(new_root=True) as aggregate:
        for _ in range(3):  # the first starts the watch
            metrics.log_speed("wps", 1000, round=1)
            speed.log_speed([{"flops": 150e12}, {"flops": 162e12}])
            now.seconds += 0.5
        values = aggregate.get_smoothed_values()
    # 2 updates in 1.5 seconds: 624 TFLOP, on 4 GPUs of 312 TFLOP/s each
    assert values["wps_per_gpu"] == pytest.approx(2000 / 1.5 / 4, abs=0.1)
    assert values["tflops_per_gpu"] == pytest.approx(104, abs=0.01)
    assert values["mfu"] == pytest.approx(100 / 3, abs=0.1)
    assert "_flops" not in values
