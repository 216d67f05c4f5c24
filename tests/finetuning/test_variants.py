"""Fine-tuning on attacked text, and the paper's side experiments: which data are rendered, and which runs read them."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from color_font import write_color_font
from fairseq_runs import train
from refusals import refusal
from skips import needs_raqm
from toy_corpus import ROOT
from toy_finetuning import TRAINING
from toy_glue import write_glue
from toy_xnli import write_xnli

from pixelgpt_fairseq.cli.finetune import main as finetune
from pixelgpt_fairseq.cli.render_glue import main as render_glue
from pixelgpt_fairseq.cli.render_xnli import main as render_xnli
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.finetuning.recipes import experiment_recipe, load_recipes

START = "--model pixelgpt --modality pixel --from-scratch --arch pixelgpt_tiny --gpus 0".split()
SIDE_RECIPES = [recipe for recipe in load_recipes() if recipe.experiment]


@pytest.fixture
def tasks(tmp_path):
    """``tasks/GLUE``, and rendered from it ``tasks/rte`` and ``tasks/cola``."""
    folder = tmp_path / "tasks"
    write_glue(folder / "GLUE", train=12, dev=4)
    for task in ("rte", "cola"):
        render_glue(f"--glue-dir {folder}/GLUE --task {task} --splits train valid --destdir {folder}/{task}".split())
    return folder


@pytest.fixture
def trained(monkeypatch):
    """fairseq-train is a program that ends well at once."""
    program = shutil.which("true")
    monkeypatch.setattr("shutil.which", lambda *name, **path: program)
    monkeypatch.chdir(ROOT)


def run(capsys, *options):
    """The command lines of fairseq-train that the command prints, each as a list."""
    finetune([str(option) for option in (*START, *options)])
    lines = capsys.readouterr().out.splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("fairseq-train ")]


def value(arguments, option):
    return arguments[arguments.index(option) + 1]


def attack_of(folder, split):
    return DataFolder(folder).read_manifest(split)["attack"]


ATTACK = "--attack truncate --severity 0.5".split()


def test_training_on_attacked_text_renders_it_once_beside_the_data(tasks, tmp_path, trained, capsys):
    options = ["--task", "rte", "--data", tasks / "rte", "--glue-dir", tasks / "GLUE", "--save-dir", tmp_path / "run"]
    ((data, *arguments),) = run(capsys, *options, *ATTACK, "--attack-seed", 3)
    assert data == f"{tasks}/rte-truncate-0.5-seed3"
    assert value(arguments, "--save-dir") == str(tmp_path / "run")
    for split in ("train", "valid"):
        assert attack_of(data, split)["changed_sentences"] > 0
        assert {name: attack_of(data, split)[name] for name in ("name", "severity", "seed")} == {
            "name": "truncate",
            "severity": 0.5,
            "seed": 3,
        }
    expected, found = DataFolder(tasks / "rte").renderer_config(), DataFolder(data).renderer_config()
    assert found.differences(expected) == []
    assert found.max_patches == expected.max_patches
    assert json.loads((tmp_path / "run/run.json").read_text())["attack"] == "truncate, severity 0.5, seed 3"
    written = {path: path.stat().st_mtime_ns for path in Path(data).iterdir()}
    run(capsys, *options, *ATTACK, "--attack-seed", 3)
    assert {path: path.stat().st_mtime_ns for path in Path(data).iterdir()} == written
    line = refusal(finetune, *START, *options, *ATTACK)
    assert "holds another run (attack truncate, severity 0.5, seed 3, not truncate, severity 0.5, seed 1)" in line


def test_splits_that_an_interrupted_command_left_out_are_rendered_later(tasks, trained, capsys):
    options = ["--task", "rte", "--data", tasks / "rte", "--glue-dir", tasks / "GLUE", "--dry-run"]
    run(capsys, *options, *ATTACK)
    assert not (tasks / "rte-truncate-0.5-seed1").exists()
    finetune([str(option) for option in (*START, *options[:-1], *ATTACK, "--save-dir", tasks / "run")])
    folder = DataFolder(tasks / "rte-truncate-0.5-seed1")
    before = folder.labels_path("train").stat().st_mtime_ns
    for path in folder.split_files("valid"):
        path.unlink()
    finetune([str(option) for option in (*START, *options[:-1], *ATTACK, "--save-dir", tasks / "run")])
    assert folder.splits() == ["train", "valid"]
    assert folder.labels_path("train").stat().st_mtime_ns == before


def test_attack_splits_leave_the_training_data_as_they_are(tasks, trained, capsys):
    options = ["--task", "rte", "--data", tasks / "rte", "--glue-dir", tasks / "GLUE", "--save-dir", tasks / "run"]
    ((data, *_),) = run(capsys, *options, *ATTACK, "--attack-splits", "valid")
    assert data == f"{tasks}/rte-truncate-0.5-seed1-valid"
    assert attack_of(data, "train") is None
    assert attack_of(data, "valid")


def test_a_folder_of_another_attack_or_look_is_refused(tasks, trained):
    options = [*START, "--task", "rte", "--data", tasks / "rte", "--glue-dir", tasks / "GLUE"]
    shutil.copytree(tasks / "rte", tasks / "rte-truncate-0.5-seed1")
    assert "holds another attack" in refusal(finetune, *options, *ATTACK)
    shutil.copytree(tasks / "rte", tasks / "rte-binary")
    line = refusal(finetune, *options, "--experiment", "render_mode", "--render-mode", "binary")
    assert "not what binary looks like (render_mode: gray against binary)" in line


def test_xnli_is_attacked_in_the_languages_that_its_splits_have(tmp_path, trained, capsys):
    write_xnli(tmp_path / "XNLI")
    source = ["--xnli-dir", str(tmp_path / "XNLI"), "--destdir", str(tmp_path / "xnli")]
    render_xnli([*source, "--splits", "train", "--languages", "en"])
    render_xnli([*source, "--splits", "valid", "--languages", "en,sw"])
    options = ["--task", "xnli_train_en", "--data", tmp_path / "xnli", "--xnli-dir", tmp_path / "XNLI"]
    ((data, *_),) = run(capsys, *options, *ATTACK, "--save-dir", tmp_path / "run")
    assert DataFolder(data).splits() == ["train.en", "valid.en", "valid.sw"]
    assert all(attack_of(data, split) for split in DataFolder(data).splits())


# Experiments


def test_the_table_has_the_papers_side_experiments():
    found = {(recipe.experiment, recipe.task) for recipe in SIDE_RECIPES}
    assert len(found) == len(SIDE_RECIPES) == 13
    assert {experiment for experiment, _ in found} == {"font", "colour", "render_mode"}
    recipe = experiment_recipe("render_mode", "monogpt", "wnli", "pixel")
    assert (recipe.render_mode, recipe.font, recipe.effective_batches) == (("gray", "binary"), (), (32, 64, 128))
    assert experiment_recipe("font", "dualgpt", "cola", "pixel").font == ("NotoSerif-Regular", "JournalDingbats1")
    assert recipe.name == "monogpt, wnli, pixel, render_mode"


def test_render_modes_are_runs_of_one_channel_on_data_drawn_so(tasks, tmp_path, trained, capsys):
    options = ["--experiment", "render_mode", "--task", "rte", "--data", tasks / "rte", "--glue-dir", tasks / "GLUE"]
    runs = run(capsys, *options, "--save-dir", tmp_path / "run")
    assert [data for data, *_ in runs] == [str(tasks / "rte"), f"{tasks}/rte-binary"]
    assert [value(arguments, "--save-dir") for arguments in runs] == [f"{tmp_path}/run/gray", f"{tmp_path}/run/binary"]
    assert [value(arguments, "--num-channels") for arguments in runs] == ["1", "1"]
    assert [value(arguments, "--lr") for arguments in runs] == ["7e-06"] * 2
    assert DataFolder(tasks / "rte-binary").renderer_config().render_mode == "binary"
    assert json.loads((tmp_path / "run/binary/run.json").read_text())["render_mode"] == "binary"
    assert len(run(capsys, *options, "--sweep", "--dry-run", "--save-dir", tmp_path / "swept")) == 2 * 5


def test_fonts_are_runs_on_data_drawn_with_them(tasks, tmp_path, trained, capsys):
    fonts = pytest.importorskip("matplotlib", reason="matplotlib, which brings fonts, is not installed")
    folder = Path(fonts.__file__).parent / "mpl-data" / "fonts" / "ttf"
    serif, symbols = folder / "DejaVuSerif.ttf", folder / "cmsy10.ttf"
    options = ["--experiment", "font", "--task", "cola", "--data", tasks / "cola", "--glue-dir", tasks / "GLUE"]
    runs = run(capsys, *options, "--font", serif, symbols, "--save-dir", tmp_path / "run")
    assert [Path(data).name for data, *_ in runs] == ["cola-DejaVuSerif", "cola-cmsy10"]
    assert [value(arguments, "--max-positions") for arguments in runs] == ["64", "64"]
    own = DataFolder(tasks / "cola")
    for (data, *_), font in zip(runs, (serif, symbols), strict=True):
        config = DataFolder(data).renderer_config()
        assert [each.name for each in config.fonts] == [font.name, *(each.name for each in own.renderer_config().fonts)]
        (ours,), (theirs,) = DataFolder(data).prefixes("train", "pixel"), own.prefixes("train", "pixel")
        assert ours.with_suffix(".bin").read_bytes() != theirs.with_suffix(".bin").read_bytes()


@needs_raqm
def test_color_is_trained_in_rgb_and_in_gray_with_a_font_of_emoji(tmp_path, trained, capsys):
    font = write_color_font(tmp_path / "emoji.ttf")
    table = tmp_path / "hatemoji.csv"
    rows = [
        f"{i},I am {'so 😀' if i % 2 else 'not ❤'} today,{i % 2},{'validation' if i > 5 else 'train'}" for i in range(8)
    ]
    table.write_text("\n".join(["entry_id,text,label_gold,split", *rows]) + "\n", encoding="utf-8")
    data = tmp_path / "hatemoji"
    render_glue(f"--hatemoji {table} --destdir {data} --max-missing 1".split())
    options = ["--experiment", "colour", "--task", "hatemoji", "--data", data, "--hatemoji", table, "--font", font]
    runs = run(capsys, *options, "--save-dir", tmp_path / "run")
    assert [Path(folder).name for folder, *_ in runs] == ["hatemoji-emoji-rgb", "hatemoji-emoji-gray"]
    manifests = [DataFolder(folder).read_manifest("train") for folder, *_ in runs]
    assert [manifest["patch_values"] for manifest in manifests] == [768, 256]
    assert [manifest["missing_characters"] for manifest in manifests] == [{}, {}]
    assert ["--num-channels" in arguments for arguments in runs] == [False, True]
    for (folder, *_), more in zip(runs, ([], ["--num-channels", "1"]), strict=True):
        log = train(folder, *TRAINING, "--max-update", 2, "--modality", "pixel", *more, "--save-dir", tmp_path / "x")
        assert log is not None
        shutil.rmtree(tmp_path / "x")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--attack swap --glue-dir GLUE", "attack 'swap': there is none of that name"),
        ("--attack truncate --severity 2 --glue-dir GLUE", "severity 2.0: must be a number from 0"),
        ("--attack truncate", "--glue-dir: name where the text of rte is: rendered strips hold none"),
        ("--attack-seed 2", "of which attack?"),
        ("--font a.ttf", "--font and --render-mode: of which experiment?"),
        ("--experiment size", "--experiment size: none of font, colour, render_mode"),
        ("--experiment font", "--task rte: no recipe of any: there is one for cola"),
        (
            "--experiment render_mode --modality text",
            "--modality text: no recipe of any on rte",
        ),
        (
            "--experiment render_mode --render-mode cmyk --glue-dir GLUE",
            "--render-mode cmyk: none of gray, rgb",
        ),
        ("--experiment render_mode --model bert", "--model bert: none of"),
        ("--experiment render_mode --font nothing.ttf --glue-dir GLUE", "nothing.ttf: no such font file"),
    ],
)
def test_mistakes_are_told_in_one_line(tasks, trained, options, problem):
    given = [part.replace("GLUE", str(tasks / "GLUE")) for part in options.split()]
    assert problem in refusal(finetune, *START, "--task", "rte", "--data", tasks / "rte", *given)
    assert sorted(path.name for path in tasks.iterdir()) == ["GLUE", "cola", "rte"]
