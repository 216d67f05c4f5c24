"""docs/extending.md: its modules are written to a package of one's own, and its commands run with it, smaller."""

import re
import shlex
import sys

import fairseq_cli.train
import pytest
from fairseq import models as fairseq_models
from fairseq import registry, tasks, utils
from fairseq_runs import run
from processes import start_fairseq_by_fork
from refusals import script
from toy_corpus import ROOT

from pixelgpt_fairseq.checkpoints import loading
from pixelgpt_fairseq.conversion.released_folders import export_released
from pixelgpt_fairseq.criterions import metrics
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import PRETRAINING_STREAMS
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.prediction import predict
from pixelgpt_fairseq.evaluation.runs import read_log
from pixelgpt_fairseq.models import architectures, heads
from pixelgpt_fairseq.rendering import RendererConfig, TextRenderer
from pixelgpt_fairseq.rendering.backends import BACKENDS

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n# (mylab/\w+\.py)\n(.*?)```", PAGE, re.DOTALL))
SIZES = (
    "--hidden-size 32 --num-hidden-layers 1 --num-attention-heads 2 --num-key-value-heads 1 --intermediate-size 32"
).split()
SMALL = [
    *SIZES,
    *"--max-update 2 --validate-interval-updates 1 --save-interval-updates 1 --batch-size 4".split(),
    *"--num-workers 0 --cpu --distributed-world-size 1 --log-format simple".split(),
]
EXAMPLES, BLOCKS = ["--max-positions", "48"], ["--tokens-per-sample", "48"]
REGISTRIES = (
    *(metrics.METRICS, heads.HEADS, BACKENDS, architectures.ARCHITECTURES, PRETRAINING_STREAMS),
    *(tasks.TASK_REGISTRY, tasks.TASK_DATACLASS_REGISTRY, fairseq_models.MODEL_REGISTRY),
    *(fairseq_models.ARCH_MODEL_REGISTRY, fairseq_models.ARCH_MODEL_NAME_REGISTRY, fairseq_models.ARCH_CONFIG_REGISTRY),
    *(each["registry"] for each in registry.REGISTRIES.values()),
    *(each["dataclass_registry"] for each in registry.REGISTRIES.values()),
)


kept = []  # folder, registries, modules and memo of this process's first ``lab``: fairseq registers a class only once


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A folder with the package ``mylab``, in which its commands run; nothing stays registered after the tests."""
    held, path, known = [dict(each) for each in REGISTRIES], sys.path[:], set(sys.modules)
    memo = set(getattr(utils.import_user_module, "memo", set()))
    if kept:
        folder, registered, modules, utils.import_user_module.memo = kept.pop()
        sys.modules.update(modules)
        for each, then in zip(REGISTRIES, registered, strict=True):
            each.update(then)
    else:
        folder = tmp_path_factory.mktemp("lab")
    for name, code in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")
    yield folder
    registered = [dict(each) for each in REGISTRIES]
    modules = {name: sys.modules.pop(name) for name in set(sys.modules) - known if name.partition(".")[0] == "mylab"}
    kept.append((folder, registered, modules, set(getattr(utils.import_user_module, "memo", set()))))
    for each, before in zip(REGISTRIES, held, strict=True):
        each.clear()
        each.update(before)
    sys.path[:] = path
    utils.import_user_module.memo = memo


def commands(heading):
    """The commands of a section of the page, each a list of arguments."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def train(lab, arguments, toy_glue, **places):
    """Run a fairseq-train of the page, smaller; returns the folder of its checkpoints."""
    program, data, *options = arguments
    assert program == "fairseq-train"
    at = {name: str(toy_glue / name) for name in ("rte", "stsb")} | {"mylab": str(lab / "mylab")} | places
    options = [at.get(option, option) for option in options]
    save_dir = lab / options[options.index("--save-dir") + 1]
    save_dir.mkdir(parents=True)
    options[options.index("--save-dir") + 1] = str(save_dir)
    task = options[options.index("--task") + 1]
    small = [*SMALL, *(BLOCKS if task == "rendered_pretraining" else EXAMPLES)]
    if options[options.index("--arch") + 1] == "pixelgpt_deep":
        small = small[len(SIZES) :]
    run(fairseq_cli.train.cli_main, at.get(data, data), *options, *small, "--log-file", save_dir / "train.log")
    return save_dir


def scores(save_dir):
    """The scores of the last validation of a run."""
    return list(read_log(save_dir / "train.log").validations.values())[-1]["valid"]


def test_an_example_fits_a_screen():
    assert MODULES
    assert {name: len(code.splitlines()) for name, code in MODULES.items() if len(code.splitlines()) >= 40} == {}


def test_a_metric_of_ones_own_is_reported_and_chooses_checkpoints(lab, toy_glue, monkeypatch):
    by_options, by_recipe = commands("A metric")
    save_dir = train(lab, by_options, toy_glue)
    found = read_log(save_dir / "train.log").validations
    assert all({"accuracy", "balanced_accuracy"} <= scores["valid"].keys() for scores in found.values())
    best = loading.read_state(save_dir / "checkpoint_best.pt")["extra_state"]["best"]
    assert best == max(scores["valid"]["balanced_accuracy"] for scores in found.values())
    answers = predict(str(save_dir / "checkpoint_best.pt"), toy_glue / "rte", ["valid"], cpu=True, progress=False)
    assert answers["valid"].metrics()["balanced_accuracy"] == pytest.approx(best, abs=1e-4)

    monkeypatch.chdir(lab)
    (lab / "rte").symlink_to(toy_glue / "rte")
    (lab / "dualgpt.pt").symlink_to(save_dir / "checkpoint_best.pt")
    python, name, *options = by_recipe
    assert (python, name) == ("python", "scripts/finetune.py")
    start_fairseq_by_fork(monkeypatch)
    limits = "--max-positions 48 --max-update 1 --validate-interval-updates 1".split()
    script("finetune")([*options[: options.index("--")], "--gpus", "0", *options[options.index("--") :], *limits])
    log = (lab / "runs/rte-recipe/train.log").read_text(encoding="utf-8")
    assert "balanced_accuracy" in log


def test_a_checkpoint_is_used_where_its_metric_is_not_registered(lab, toy_glue, caplog, monkeypatch):
    by_options, _ = commands("A metric")
    by_options[by_options.index("--save-dir") + 1] = "runs/elsewhere"
    save_dir = train(lab, by_options, toy_glue)
    for name in list(metrics.METRICS):
        if name == "balanced_accuracy":
            monkeypatch.delitem(metrics.METRICS, name)
    answers = predict(str(save_dir / "checkpoint_best.pt"), toy_glue / "rte", ["valid"], cpu=True, progress=False)
    assert set(answers["valid"].metrics()) == {"accuracy"}
    assert "of its --metrics accuracy,balanced_accuracy only accuracy are registered here" in caplog.text


def test_a_head_and_a_loss_of_ones_own_are_trained_and_come_back(lab, toy_glue, monkeypatch):
    (arguments,) = commands("A head, and a loss")
    save_dir = train(lab, arguments, toy_glue)
    checkpoint = save_dir / "checkpoint_best.pt"
    state = loading.read_state(checkpoint)
    assert state["cfg"]["criterion"]["focus"] == 1.5
    assert sum(name.startswith("score.") for name in state["model"]) == 4
    answers = predict(str(checkpoint), toy_glue / "rte", ["valid"], cpu=True, progress=False)["valid"]
    assert answers.metrics()["accuracy"] == pytest.approx(state["extra_state"]["best"], abs=1e-4)

    model = loading.load_checkpoint(checkpoint).model
    assert [type(layer).__name__ for layer in model.score] == ["Linear", "Tanh", "Linear"]
    assert all(bool((model.state_dict()[name] == weight).all()) for name, weight in state["model"].items())
    with pytest.raises(UserError, match="classification head two_layers; the released layout"):
        export_released(checkpoint, lab / "exported", progress=False)
    monkeypatch.delitem(heads.HEADS, "two_layers")
    with pytest.raises(UserError, match="--classifier-head two_layers: not registered; there are linear"):
        loading.load_checkpoint(checkpoint)


def test_an_architecture_of_ones_own(lab, toy_glue, toy_data):
    (arguments,) = commands("A size")
    save_dir = train(lab, arguments, toy_glue, data=str(toy_data))
    sizes = loading.read_state(save_dir / "checkpoint_last.pt")["cfg"]["model"]
    assert (sizes["num_hidden_layers"], sizes["hidden_size"]) == (12, 256)
    with pytest.raises(ValueError, match="there is an architecture pixelgpt already"):
        architectures.register_architecture("pixelgpt", **architectures.ARCHITECTURES["pixelgpt_tiny"])
    with pytest.raises(ValueError, match=r"the sizes are hidden_size, .*, not hidden_size"):
        architectures.register_architecture("pixelgpt_wide", hidden_size=4096)


def test_a_task_of_ones_own(lab, toy_glue):
    (arguments,) = commands("A task on sentences")
    save_dir = train(lab, arguments, toy_glue)
    task = loading.read_state(save_dir / "checkpoint_best.pt")["cfg"]["task"]
    assert (task["_name"], task["label_noise"]) == ("noisy_labels", 0.3)
    assert "accuracy" in scores(save_dir)


def test_a_stream_of_ones_own(lab, toy_glue, toy_data):
    (arguments,) = commands("A stream")
    save_dir = train(lab, arguments, toy_glue, data=str(toy_data))
    found = scores(save_dir)
    assert {"text_token_loss", "backwards_token_loss", "backwards_ppl", "pixel_patch_loss"} <= found.keys()


def test_a_backend_of_ones_own(lab, toy_glue, toy_data, tmp_path, monkeypatch):
    show, render, arguments = commands("A renderer backend")
    monkeypatch.chdir(lab)
    lines = (toy_data.parent / "train.txt").read_text().splitlines(keepends=True)
    (lab / "train.txt").write_text("".join(lines[:20]))
    for _, name, *options in (show, render):
        script(name.removeprefix("scripts/").removesuffix(".py"))(options)
    assert (lab / "seen.png").is_file()
    assert DataFolder(lab / "cells").manifest("train")["renderer"]["backend"] == "cells"
    assert TextRenderer(RendererConfig(backend="cells"))("x" * 10).num_text_patches == 6  # with the margins
    save_dir = train(lab, arguments, toy_glue, cells=str(lab / "cells"))
    renderer = loading.load_checkpoint(save_dir / "checkpoint_last.pt").renderer()
    assert renderer.config.backend == "cells"
    monkeypatch.delitem(BACKENDS, "cells")
    with pytest.raises(UserError, match="backend: 'cells' is not available, choose pygame or pillow"):
        DataFolder(lab / "cells").manifest("train")
