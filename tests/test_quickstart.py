"""The demo given again replaces what it made, and nothing else."""

import importlib.util

from toy_corpus import ROOT


def test_files_that_were_put_beside_those_of_the_demo_stay(tmp_path):
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "examples" / "quickstart" / "run.py")
    quickstart = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(quickstart)
    elsewhere, made, own = tmp_path / "elsewhere", tmp_path / "data", tmp_path / "notes.txt"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (tmp_path / "checkpoints").symlink_to(elsewhere)
    made.mkdir()
    for path in (made / "train.pixel.bin", own, tmp_path / "train.log"):
        path.touch()
    quickstart.remove([made, tmp_path / "checkpoints"], [tmp_path / "train.log", tmp_path / "absent"])
    assert sorted(tmp_path.iterdir()) == [elsewhere, own]
    assert (elsewhere / "precious").exists()
