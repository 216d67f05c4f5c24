"""Attack the text of a task's validation set, and tell how much fine-tuned checkpoints lose.

The text is attacked and rendered for each checkpoint as it was rendered in its training; the checkpoint reads it in its
modality. Results are kept as they come: a command that was interrupted can be given again and goes on.
"""

import argparse
import contextlib
from pathlib import Path

from pixelgpt_fairseq.cli.attack_options import NATURAL_TYPO, chosen_attacks, chosen_severities
from pixelgpt_fairseq.errors import UserError, command
from pixelgpt_fairseq.perturbations import ATTACKS, check_attack, read_typos
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, find_source, task_name

LOCK_FILE = "robustness.lock"


def get_parser():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        required=True,
        metavar="[NAME=]CKPT",
        help="fine-tuned checkpoints of fairseq-train. Scores of one NAME are averaged: of checkpoints that differ in "
        "their seed, say (default: the name of the checkpoint's folder)",
    )
    parser.add_argument(
        "--glue-dir", required=True, metavar="DIR", help="GLUE as distributed: folders CoLA, SST-2, ..."
    )
    parser.add_argument("--task", required=True, type=task_name, choices=list(GLUE_TASKS), help="of the checkpoints")
    parser.add_argument("--split", default="valid", help="a labeled split of the task (default: valid)")
    parser.add_argument(
        "--attacks",
        default="all",
        metavar="NAMES",
        help=f"with commas between them, from {', '.join(ATTACKS)} (default: all; {NATURAL_TYPO} if there is --typos)",
    )
    parser.add_argument(
        "--severities",
        default="0.2,0.5,0.8",
        metavar="NUMBERS",
        help="0 to 1, with commas between them (default: 0.2,0.5,0.8)",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="each attack is made with as many seeds (default: 3)"
    )
    parser.add_argument("--typos", metavar="FILE", help="misspellings: on each line a word, then misspellings of it")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder of the results, the tables and the plot")
    parser.add_argument(
        "--results-of",
        nargs="+",
        default=[],
        metavar="DIR",
        help="--output of other evaluations: what they found is not made again, so several commands can share the work",
    )
    parser.add_argument("--no-plot", action="store_true", help="leave the plot out, which needs matplotlib")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that render (default: 1)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="examples of a batch (default: any number)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="patches and tokens of a batch (default: 8192)")
    parser.add_argument("--cpu", action="store_true", help="leave a GPU alone")
    return parser


@command
def main(argv=None):
    """Run the command."""
    args = get_parser().parse_args(argv)
    typos = read_typos(args.typos) if args.typos else None
    attacks, severities = chosen_attacks(args.attacks, typos), chosen_severities(args.severities)
    for name in attacks:
        check_attack(name, severities[0], typos)
    for option in ("seeds", "workers", "batch_size", "max_tokens"):
        number = getattr(args, option)
        if number is not None and number < 1:
            raise UserError(f"--{option.replace('_', '-')} {number}: at least 1")

    from tqdm import tqdm

    from pixelgpt_fairseq.evaluation import robustness, robustness_table
    from pixelgpt_fairseq.storage.files import check_absent, write_whole
    from pixelgpt_fairseq.storage.locks import locked

    if not args.no_plot:
        robustness_table.figure_class()  # refuses now what would fail in the end
    models = named_models(args.checkpoint)
    data = validation_set(args)
    output = Path(args.output)
    outputs = {suffix: output / f"robustness{suffix}" for suffix in (".md", ".tsv", ".png")}
    if not (output / robustness.RESULTS).exists():
        for path in outputs.values():
            check_absent(path, "another --output")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {output}: {error.strerror}") from None
    with contextlib.ExitStack() as held:
        held.enter_context(locked(output / LOCK_FILE, "evaluating into this folder"))
        results = robustness.Results(output, args.results_of)
        chosen = robustness.evaluations(models, data, robustness.conditions(attacks, severities, args.seeds), typos)
        known = sum(results.find(of) is not None for _, _, of in chosen)
        print(f"{len(chosen)} evaluations of {len(data.examples):,} examples, {known} of them known from before")
        with tqdm(total=len(chosen), initial=known, unit=" evaluations") as bar:
            robustness.evaluate(
                *(chosen, data, results, typos, args.workers),
                max_tokens=args.max_tokens,
                batch_size=args.batch_size,
                cpu=args.cpu,
                on_result=bar.update,
            )
        evaluated = [(model, condition, results.find(of)) for model, condition, of in chosen]
        title = f"{args.task}, {args.split}"
        scores = {metric: robustness_table.gather(evaluated, metric) for metric in data.task.metrics}
        table = robustness_table.to_markdown(
            scores[data.task.metrics[0]], data.task.metrics[0], title, notes(evaluated)
        )
        write_whole(outputs[".md"], table)
        write_whole(outputs[".tsv"], robustness_table.to_tsv(scores))
        if not args.no_plot:
            picture = robustness_table.plot(scores[data.task.metrics[0]], data.task.metrics[0], title)
            write_whole(outputs[".png"], picture)
    print(table, end="")
    print(f"{outputs['.md']}, {outputs['.tsv'].name}" + ("" if args.no_plot else f", {outputs['.png'].name}"))


def named_models(given):
    """The models that ``--checkpoint`` names.

    Raises:
        UserError: if a file is not there, or two checkpoints without a name of their own would have the same.
    """
    from pixelgpt_fairseq.evaluation.robustness import Model

    models, folders = [], {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            name, path = "", text
        if not Path(path).is_file():
            raise UserError(f"--checkpoint {text}: no such file: name a checkpoint that fairseq-train made of a task")
        if not name:
            folder = Path(path).resolve().parent
            parts = [part for part in folder.parts if part != "checkpoints"]
            name = parts[-1]
            if folders.setdefault(name, path) != path:
                raise UserError(
                    f"--checkpoint {path}: its folder is named {name}, as that of {folders[name]}: give both a name, "
                    f"such as first={folders[name]}; the same, and their scores are averaged"
                )
        models.append(Model(name, Path(path)))
    return models


def validation_set(args):
    """The examples of ``--split``, with their texts.

    Raises:
        UserError: if the split has no file or no labels, or the folder holds strips without text.
    """
    from pixelgpt_fairseq.evaluation.robustness import ValidationSet
    from pixelgpt_fairseq.sources.examples import read_examples

    folder = Path(args.glue_dir)
    if not folder.is_dir():
        raise UserError(f"--glue-dir {folder}: no such folder")
    task, sources = GLUE_TASKS[args.task]
    labeled = {source.split: source for source in sources if source.label is not None}
    if args.split not in labeled:
        raise UserError(f"--split {args.split}: {args.task} has labels for {', '.join(labeled)}")
    source = labeled[args.split]
    path = find_source(source, folder)
    if path is None:
        rendered = any(folder.glob("*.manifest.json")) or any(folder.glob("*/part-*.gz"))
        hint = ": these are rendered strips, whose text cannot be attacked: name GLUE's own folder" if rendered else ""
        raise UserError(f"{folder / source.files[0]}: no such file (split {args.split} of {args.task}){hint}")
    return ValidationSet(task, list(read_examples(path, task, source.columns, source.label)))


def notes(evaluated):
    """What is to be said below the table of characters that fonts lack and texts that an attack leaves as they are."""
    lines = {}
    for _, condition, record in evaluated:
        name = condition.attack
        if name is None:
            continue
        if record["missing_characters"] and record["modality"] != "text":
            lines[f"{name}: some of its characters are in none of the fonts: boxes for a reader of pixels"] = None
        if not record["changed_sentences"]:
            lines[f"{name}, severity {condition.severity:g}: changed none of the texts"] = None
    return list(lines)
