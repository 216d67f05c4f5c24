"""examples/evidence: the whole road at a size that learns nothing, and a plan that is run once, and goes on."""

import gzip
import importlib
import importlib.util
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import corpus
import fairseq_cli.train
import figures
import prose
import pytest
import reading
from budgets import BUDGETS
from fairseq_runs import run as run_fairseq
from jobs import Plan, Stage, heed_interruptions
from plan import Evidence
from refusals import refusal
from toy_corpus import ROOT, SMALLER
from toy_glue import write_glue

from pixelgpt_fairseq.errors import UserError


def _module_of_the_command():
    # Not as the module "run": other examples have a run.py, too.
    spec = importlib.util.spec_from_file_location("evidence_run", ROOT / "examples" / "evidence" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


evidence = _module_of_the_command()
SCRIPTS = {"corpus.py": corpus, "reading.py": reading, "figures.py": figures}


def run_in_this_process(command):
    """Run the command of a stage, without a process that imports torch first."""
    program, *arguments = command
    if program.endswith("fairseq-train"):
        return run_fairseq(fairseq_cli.train.cli_main, *arguments, *SMALLER).log
    elif arguments[0] == "-m":
        name = arguments[2].replace("-", "_")
        importlib.import_module(f"pixelgpt_fairseq.cli.{name}").main(arguments[3:])
    else:
        SCRIPTS[arguments[0].rpartition("/")[2]].main(arguments[1:])
    return ""


def go_the_road(folder):
    """Run the budget ``smoke`` in *folder*; returns its plan."""
    glue = write_glue(folder / "GLUE")
    plan = Plan(Evidence(BUDGETS["smoke"], glue, None, folder / "work", folder / "report").plan(), folder / "work")
    for made in ("done", "logs"):
        (folder / "work" / made).mkdir(parents=True)
    for stage in plan.stages.values():
        plan.log(stage.name).write_text(run_in_this_process(stage.command))
        plan.finish(stage, 1)
    return plan


def test_the_whole_road_ends_with_tables_and_plots_and_is_gone_once(tmp_path, capsys, monkeypatch):
    """One test: with a fixture that several share, each process that runs tests would go the road."""
    plan = go_the_road(tmp_path)
    assert plan.unfinished() == {}
    check_report(tmp_path / "report")
    models = [path.read_bytes() for path in (tmp_path / "work" / "pretrained").iterdir()]
    assert len(set(models)) == len(models) == 2  # each point is a model of its own

    folders = ["--glue-dir", tmp_path / "GLUE", "--output", tmp_path / "work"]
    told = refusal(evidence.main, "--budget", "cpu-hour", *folders)
    assert "made with other options: choose another --output" in told

    monkeypatch.setattr(evidence, "heed_interruptions", lambda: None)  # this process has its own way
    capsys.readouterr()
    given = ["--budget", "smoke", *folders, "--report", tmp_path / "report", "--jobs", "2"]
    evidence.main([str(argument) for argument in given])
    printed = capsys.readouterr().out
    assert printed.count("done before") == len(plan.stages) + 1
    assert "done in 0 s" in printed


def check_report(report):
    tables = (report / "tables.md").read_text()
    points = Evidence(BUDGETS["smoke"], report, None, report, report).points()
    assert f"| updates of pretraining | 0 | {' | '.join(map(str, points))} |" in tables
    assert re.search(r"\| text( \| [\d.]+){3} \|", tables)
    for modality in ("pixel", "pair"):  # from scratch and from the end alone
        assert re.search(rf"\| {modality} \| [\d.]+ \|  \| [\d.]+ \|", tables)
    assert re.search(rf"\| {points[0]}( \| [\d.]+)+ \| \d+ % \|", tables)  # what it reads
    assert re.search(r"\| dualgpt( \| \d\.\d{3}){4} \|", tables)  # text, pixels, and both of pairs
    assert re.search(r"\| inner-swap \| 0.5( \| [\d.]+ \([-+][\d.]+\)){3} \|", tables)
    assert "| GLUE sst2, training set |" in tables
    for name in ("sst2", "sst2_longer", "reading", "losses", "robustness"):
        assert (report / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_text_that_is_there_is_not_made(tmp_path):
    stages = {stage.name: stage for stage in Evidence(BUDGETS["smoke"], None, None, *[Path("w")] * 2, tmp_path).plan()}
    assert "corpus" not in stages
    assert stages["sentences-train"].needs == ()
    for name in ("sentences-train", "lines-train", "read-2"):
        assert any(argument.startswith(f"{tmp_path}/") for argument in stages[name].command), name
    assert str(tmp_path) in stages["figures"].command


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_dry_run_tells_the_plan_and_makes_nothing(tmp_path, capsys, budget):
    options = ["--budget", budget, "--glue-dir", tmp_path, "--output", tmp_path / "work", "--dry-run"]
    evidence.main([*map(str, options), "--jobs", "2"])
    printed = capsys.readouterr().out
    assert "robustness" in printed
    assert "2 at a time" in printed
    assert not (tmp_path / "work").exists()


def test_the_structure_of_strips_is_the_budgets_or_what_is_asked_for(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(evidence, "tell", lambda plan, *_: found.append(plan.stages["lines-train"].command))
    options = ["--budget", "smoke", "--glue-dir", str(tmp_path), "--output", str(tmp_path / "work"), "--dry-run"]
    for asked in ([], ["--structure", "continuous"]):
        evidence.main([*options, *asked])
    assert [command[command.index("--structure") + 1] for command in found] == ["words", "continuous"]


@pytest.mark.parametrize(
    ("budget", "seconds"), [("cpu-half-hour", 1800), ("cpu-hour", 3600), ("cpu-two-hours", 7200), ("cpu-day", 86400)]
)
def test_two_cores_are_what_the_name_of_a_budget_means(budget, seconds):
    plan = Plan(Evidence(BUDGETS[budget], None, None, Path("work"), Path("report")).plan(), Path("nowhere"))
    assert plan.schedule(2) <= 1.05 * seconds < plan.schedule(1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--glue-dir", "nowhere"], "--glue-dir nowhere: no such folder"),
        (["--glue-dir", ".", "--xnli-dir", "nowhere"], "--xnli-dir nowhere: no such folder"),
        (["--glue-dir", ".", "--text", "nowhere"], "--text nowhere: no such folder"),
        (["--glue-dir", ".", "--jobs", "0"], "--jobs 0: at least 1"),
    ],
)
def test_bad_options_are_refused_before_anything_is_made(tmp_path, options, told):
    output = ["--budget", "smoke", "--output", tmp_path / "work"]
    assert told in refusal(evidence.main, *output, *options)
    assert not (tmp_path / "work").exists()


def stage(name, code, *needs, **more):
    """A stage of Python code that is run in its folder of results."""
    return Stage(name, (sys.executable, "-S", "-c", code), needs, **more)


@pytest.fixture
def marks(tmp_path):
    """Code that adds a line to a file, and the file."""
    path = tmp_path / "lines.txt"
    return (lambda line: f"open({str(path)!r}, 'a').write({line!r} + '\\n');"), path


def test_stages_run_once_after_what_they_need(tmp_path, marks):
    add, path = marks
    stages = [
        stage("first", add("first")),
        stage("second", add("second"), "first"),
        stage("third", add("third"), "second"),
    ]
    Plan(stages, tmp_path).run(2)
    Plan(stages, tmp_path).run(2)
    assert path.read_text().split() == ["first", "second", "third"]


def test_stages_that_do_not_need_each_other_run_side_by_side(tmp_path):
    wait = "import os, time; open({0!r}, 'w')\nwhile not os.path.exists({1!r}): time.sleep(0.01)"
    files = [str(tmp_path / name) for name in "ab"]
    Plan([stage("a", wait.format(*files)), stage("b", wait.format(*reversed(files)))], tmp_path).run(2)


def test_a_failure_stops_what_needs_it_and_nothing_else(tmp_path, marks, capsys):
    add, path = marks
    fails = stage("fails", "import os, sys; os.path.exists('mended') or sys.exit('error: no disk')")
    stages = [fails, stage("after", add("after"), "fails"), stage("beside", add("beside"))]
    with pytest.raises(UserError, match=r"1 stages failed: .*fails.log say why"):
        Plan(stages, tmp_path).run(1)
    assert path.read_text().split() == ["beside"]
    assert "error: no disk" in (tmp_path / "logs" / "fails.log").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        Path("mended").touch()
        Plan(stages, tmp_path).run(1)
    assert path.read_text().split() == ["beside", "after"]


def test_killed_it_tells_its_commands_and_goes_on(tmp_path, marks):
    add, path = marks
    code = (
        f"import os, signal, time\n{add('started')}\n"
        f"if os.path.exists({str(tmp_path / 'again')!r}): raise SystemExit\n"
        f"try:\n    open({str(tmp_path / 'ready')!r}, 'w'); time.sleep(60)\n"
        f"except KeyboardInterrupt: {add('saved')} raise SystemExit(1)"
    )
    stages = [stage("first", add("first")), stage("long", code, "first"), stage("last", add("last"), "long")]

    def interrupt():
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        Plan(stages, tmp_path).run(1)
    assert path.read_text().split() == ["first", "started", "saved"]
    (tmp_path / "again").touch()
    Plan(stages, tmp_path).run(1)
    assert path.read_text().split() == ["first", "started", "saved", "started", "last"]


def test_commands_can_be_interrupted_in_the_background_of_a_shell_script(tmp_path):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as such a shell leaves it
        heed_interruptions()
        code = "import signal; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
        Plan([stage("heeds", code)], tmp_path).run(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_what_later_stages_replace_is_kept(tmp_path):
    made, kept = tmp_path / "last", tmp_path / "kept" / "first"
    write = f"import os; open('new', 'w').write({{0!r}}); os.replace('new', {str(made)!r})"
    stages = [stage("one", write.format("1"), keep=(made, kept)), stage("two", write.format("2"), "one")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        Plan(stages, tmp_path).run(1)
    assert (kept.read_text(), made.read_text()) == ("1", "2")


def test_text_of_validation_sets_is_not_taken():
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    known = corpus.Known([f"Zero {long}.", "A short one."])
    assert not known.is_new(f"It says: {long}!")
    assert not known.is_new("a SHORT one")
    assert known.is_new("a short one more")
    assert known.is_new("one two three four five six seven eight nine ten eleven twelve, and no further")
    assert (known.overlapping, known.repeated) == (2, 0)
    assert not known.is_new("A short one more.")
    assert known.repeated == 1


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.html", "<head><title>No</title></head><p>One <b>bold</b> word here.<pre>x</pre><p>And another one.", None),
        ("a.txt", "One bold word\nhere.\n\nAnd another one.\n\n  +---+---+\n  | a | b |\n", None),
        ("wn.dict.dz", 'bold\n    adj 1: One bold\n       word here. [syn: {daring}]; "And another one."\n', None),
        ("man/man1/a.1.gz", ".TH A 1\n.SH NAME\nOne \\fBbold\\fP word\nhere.\n.PP\nAnd another one.\n.nf\n", None),
        ("fortunes/art", "One bold word here.\n%\nAnd another one.\n", None),
        ("changelog.txt", "One bold word here.", []),
        ("a.png", "One bold word here.", []),
    ],
)
def test_prose_is_taken_out_of_files(tmp_path, name, content, found):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (gzip.open if name.endswith("z") else open)(path, "wt", encoding="utf-8").write(content)
    expected = ["One bold word here.", "And another one."] if found is None else found
    assert list(prose.sentences_of(tmp_path)) == expected


def test_code_and_tables_are_no_prose():
    assert prose.is_prose("This is a sentence, and a short one.")
    for text in ("x = y + 1 ;", "see https://example.org for more", "1 2 3 4 5 6 7", "two words", "w " * 61):
        assert not prose.is_prose(text), text
