"""The published fine-tuning recipes: one table, and the fairseq-train options that each row stands for.

The table is ``recipes.tsv`` beside this file: a row for every model, task and modality. Where a column holds several
values, joined by commas, the published result is the best of a sweep over them. Rows with an ``experiment`` are the
paper's side experiments, in which any model reads another look: every render mode and font that they name. Rows of the
task ``own`` are not published: by them, any model learns a task of the user's own, see :func:`own_recipe`.
"""

import argparse
import csv
import itertools
import logging
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from fairseq import options, tasks, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.data.streams import PAIR
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.glue import GLUE_TASKS
from pixelgpt_fairseq.sources.hatemoji import HATEMOJI
from pixelgpt_fairseq.tasks.rendered_glue import RenderedGlueTask
from pixelgpt_fairseq.tasks.rendered_xnli import CROSS_LINGUAL_TRANSFER, TRANSLATE_TRAIN_ALL
from pixelgpt_fairseq.training import registration  # noqa: F401  (of the components that options name)

USER_DIR = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("recipes.tsv")
# The table's names of XNLI's two settings.
XNLI_SETTINGS = {"xnli_train_all": TRANSLATE_TRAIN_ALL, "xnli_train_en": CROSS_LINGUAL_TRANSFER}
PRECISIONS = ("fp32", "fp16", "bf16")
# What the table leaves open.
_OPTIMIZER = tuple("--optimizer fused_adamw --weight-decay 0.0 --clip-norm 1.0".split())
_BETAS = ("--adam-betas", "(0.9, 0.999)")
_NEVER = "1000000"  # epochs: validation and checkpoints go by updates
OWN_TASK = "own"  # the table's name of it
_PASSES = 10  # over the data of a task of one's own
_FEWEST_EXAMPLES = 20_000  # that it is trained on, however small its data; counted once for each time that one is read
_VALIDATIONS = 20
_RESUME_INTERVAL = 500  # updates that an interrupted run may have to repeat


@dataclass(frozen=True)
class Recipe:
    """A row of the table. The columns that may hold several values are tuples."""

    model: str  # textgpt, pixelgpt, monogpt, dualgpt
    task: str  # rte, say
    modality: str  # text, pixel, pair
    max_positions: int
    batch_per_gpu: int  # examples
    gpus: int
    grad_accum: tuple[int, ...]
    lr: tuple[float, ...]
    max_steps: int
    warmup: int
    eval_every: int  # updates
    best_metric: str
    patience: int  # evaluations without a better one
    precision: str
    experiment: str = ""  # font, render_mode, color; empty: the paper's main results
    render_mode: tuple[str, ...] = ()  # each a condition of the experiment; empty: that of the data
    font: tuple[str, ...] = ()  # likewise

    @property
    def name(self) -> str:
        """Model, task, modality and experiment, for messages."""
        return ", ".join(filter(None, (self.model, self.task, self.modality, self.experiment)))

    def with_values(self, lr, batch) -> "Recipe":
        """This recipe with one learning rate, and *batch* examples an update.

        Of a task of one's own, whose updates depend on how many examples there are, they are as many examples.
        """
        one = replace(self, lr=(lr,), batch_per_gpu=batch, gpus=1, grad_accum=(1,))
        if self.task != OWN_TASK:
            return one
        updates = max(1, self.max_steps * self.effective_batches[0] // batch)
        interval = max(1, updates // _VALIDATIONS)
        return replace(one, max_steps=updates, eval_every=interval, warmup=min(self.warmup, interval))

    def variants(self) -> list["Recipe"]:
        """One recipe for every combination of the values of a sweep, in the table's order."""
        values = itertools.product(self.lr, self.grad_accum)
        return [replace(self, lr=(lr,), grad_accum=(grad_accum,)) for lr, grad_accum in values]

    @property
    def effective_batches(self) -> tuple[int, ...]:
        """Examples an update on all GPUs together, for every value of ``grad_accum``."""
        return tuple(self.batch_per_gpu * self.gpus * steps for steps in self.grad_accum)

    def fitting(self, longest) -> int:
        """Examples of at most *longest* positions that need no more room than the recipe's own, padded to its limit."""
        limit = self.max_positions * (2 if self.modality == PAIR else 1)
        return self.batch_per_gpu * max(1, limit // longest)


def _numbers(kind):
    """A parser of numbers joined by commas."""
    return lambda text: tuple(map(kind, text.split(",")))


def _words(text):
    return tuple(filter(None, text.split(",")))


_PARSERS = {"grad_accum": _numbers(int), "lr": _numbers(float), "render_mode": _words, "font": _words} | dict.fromkeys(
    ("max_positions", "batch_per_gpu", "gpus", "max_steps", "warmup", "eval_every", "patience"), int
)


def load_recipes(path=TABLE) -> list[Recipe]:
    """Read the table.

    Raises:
        UserError: if the file is absent, or a row is not one, with its line.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    recipes = []
    for line, row in enumerate(rows, start=2):
        try:
            recipe = Recipe(**{name: _PARSERS.get(name, str)(value) for name, value in row.items()})
            if recipe.precision not in PRECISIONS:
                raise ValueError(f"precision {recipe.precision!r} is none of {', '.join(PRECISIONS)}")
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}, line {line}: not a recipe: {error}") from None
        recipes.append(recipe)
    return recipes


def published_recipes() -> list[Recipe]:
    """The rows of the paper's main results."""
    return [row for row in load_recipes() if row.task != OWN_TASK and not row.experiment]


def experiment_recipe(experiment, model, task, modality) -> Recipe:
    """The recipe of a side experiment, for one of the published models.

    Raises:
        UserError: if there is none; it names what there is.
    """
    rows = [row for row in load_recipes() if row.experiment]
    if experiment not in {row.experiment for row in rows}:
        there = dict.fromkeys(row.experiment for row in rows)
        raise UserError(f"--experiment {experiment}: none of {', '.join(there)}")
    _check_model(model)
    found = find_recipe("any", task, modality, [row for row in rows if row.experiment == experiment])
    return replace(found, model=model)


def find_recipe(model, task, modality, recipes=None) -> Recipe:
    """The recipe of a model, task and modality.

    Raises:
        UserError: if there is none; it names what there is.
    """
    found = published_recipes() if recipes is None else recipes
    chosen = ""
    for column, value in (("model", model), ("task", task), ("modality", modality)):
        there = dict.fromkeys(getattr(recipe, column) for recipe in found)
        if value not in there:
            raise UserError(f"--{column} {value}: no recipe{chosen}: there is one for {', '.join(there)}")
        found = [recipe for recipe in found if getattr(recipe, column) == value]
        chosen = f"{chosen} of {value}" if not chosen else f"{chosen} on {value}"
    return found[0]


def is_own_task(task) -> bool:
    """Whether *task* is the folder of a task of one's own, and not a name in the table."""
    return task not in {row.task for row in published_recipes()} and Path(task).is_dir()


def own_recipe(model, modality, data) -> Recipe:
    """The recipe for a task of one's own: as long as its data are many.

    Every example is read ten times; where there are few, 20,000 are read in all, and where there are many, as many as
    the table's ``max_steps`` updates have. Twenty validations are spread over it.

    Args:
        model: a model of the table.
        modality: what it reads.
        data: folder that ``pixelgpt render-glue`` wrote.

    Raises:
        UserError: if there is no recipe, or the folder has no labeled examples to train on.
    """
    _check_model(model)
    found = find_recipe("any", OWN_TASK, modality, [row for row in load_recipes() if row.task == OWN_TASK])
    folder = DataFolder(data)
    task, examples = RenderedGlueTask.read_task(folder, "train"), folder.read_manifest("train")["examples"]
    updates = max(_FEWEST_EXAMPLES, _PASSES * examples) // found.effective_batches[0]
    return replace(found, model=model, max_steps=min(found.max_steps, updates), best_metric=task.best_metric)


def _check_model(model):
    published = {row.model for row in published_recipes()}
    if model not in published:
        raise UserError(f"--model {model}: none of {', '.join(sorted(published))}")


def share_of_batch(effective_batch, processes, fitting) -> tuple[int, int]:
    """Split an update's examples, so that their number is the same on any machine.

    Args:
        effective_batch: examples an update.
        processes: workers that share them.
        fitting: the most examples that a worker can take at a time.

    Returns:
        (examples at a time, ``--update-freq``)

    Raises:
        UserError: if they cannot be shared out evenly.
    """
    if fitting < 1:
        raise UserError(f"--batch-size {fitting}: at least 1")
    share, rest = divmod(effective_batch, processes)
    if rest:
        raise UserError(
            f"the recipe's {effective_batch} examples an update cannot be shared out evenly to {processes} GPUs: "
            "choose a power of two with --gpus"
        )
    batch_size = max(number for number in range(1, min(fitting, share) + 1) if share % number == 0)
    return batch_size, share // batch_size


def training_options(recipe, data, save_dir, model, gpus, batch_size=None, seed=1, extra=()) -> list[str]:
    """The arguments of fairseq-train for a recipe without a sweep (see :meth:`Recipe.variants`).

    Args:
        recipe: the recipe; the first of its values counts.
        data: folder of the task's rendered examples.
        save_dir: folder of the checkpoints.
        model: options that say what the model is and where it comes from.
        gpus: how many there are; 0 for the CPU, where everything is computed in fp32.
        batch_size: the most examples that fit a GPU (default: the recipe's).
        seed: of the order of examples and the initial weights.
        extra: options that win over the recipe's.

    Raises:
        UserError: if the batch cannot be shared out.
    """
    processes = max(gpus, 1)
    batch_size, update_freq = share_of_batch(
        recipe.effective_batches[0], processes, recipe.batch_per_gpu if batch_size is None else batch_size
    )
    machine = ["--cpu"] if gpus == 0 else ["--tf32"] if recipe.precision == "fp32" else [f"--{recipe.precision}"]
    settings = {
        "user-dir": USER_DIR,
        **task_options(recipe.task),
        "modality": recipe.modality,
        "max-positions": recipe.max_positions,
        "criterion": "rendered_classification",
        "lr": recipe.lr[0],
        "lr-scheduler": "polynomial_decay",
        "warmup-updates": recipe.warmup,
        "max-update": recipe.max_steps,
        "total-num-update": _last_value("--max-update", extra, recipe.max_steps),  # where the rate reaches zero
        "batch-size": batch_size,
        "update-freq": update_freq,
        "distributed-world-size": processes,
        "validate-interval-updates": recipe.eval_every,
        "save-interval-updates": recipe.eval_every,
        "validate-interval": _NEVER,
        "save-interval": _NEVER,
        "keep-interval-updates": 1,
        "resume-interval-updates": _RESUME_INTERVAL,
        "best-checkpoint-metric": best_metric(recipe),
        "patience": recipe.patience,
        "seed": seed,
        "save-dir": save_dir,
        "log-format": "simple",
        "log-interval": min(50, recipe.eval_every),
    }
    pairs = itertools.chain.from_iterable((f"--{name}", str(value)) for name, value in settings.items())
    flags = ["--maximize-best-checkpoint-metric", "--no-epoch-checkpoints"]
    return [str(data), *model, *pairs, *_OPTIMIZER, *_BETAS, *flags, *machine, *extra]


def configuration(arguments):
    """fairseq's whole configuration, as fairseq-train makes it of *arguments*.

    Raises:
        UserError: if ``--user-dir`` names no folder.
    """
    user_dir = Path(_last_value("--user-dir", arguments, USER_DIR))
    if not user_dir.is_dir():
        raise UserError(f"--user-dir {user_dir}: no such folder")
    if user_dir.resolve() != USER_DIR.resolve():  # fairseq looks for it on the command line of this process alone
        utils.import_user_module(argparse.Namespace(user_dir=str(user_dir)))
    with warnings.catch_warnings(action="ignore"):  # Hydra's, of what fairseq asks of it
        return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))


def longest_example(arguments) -> int:
    """Patches and tokens of the longest example that fairseq-train would train on, given *arguments*."""
    logging.disable(logging.INFO)  # fairseq-train says it once more
    try:
        cfg = configuration(arguments)
        task = tasks.setup_task(cfg.task)
        task.load_dataset(cfg.dataset.train_subset)
    finally:
        logging.disable(logging.NOTSET)
    return int(task.dataset(cfg.dataset.train_subset).sizes.max())


def _last_value(option, arguments, default):
    """The value that fairseq-train takes for *option*."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(option, dest="value", default=default)
    return parser.parse_known_args(arguments)[0].value


def best_metric(recipe) -> str:
    """What fairseq logs and chooses checkpoints by; of XNLI, the average over languages."""
    return f"average_{recipe.best_metric}" if recipe.task in XNLI_SETTINGS else recipe.best_metric


def task_options(task) -> dict[str, str]:
    """The options of fairseq-train that say which task it is: what the table calls *task*.

    Raises:
        UserError: if it is neither of GLUE nor a setting of XNLI.
    """
    if task in XNLI_SETTINGS:
        return {"task": "rendered_xnli", "setting": XNLI_SETTINGS[task], "valid-subset": "valid"}
    if task in GLUE_TASKS:
        return {"task": "rendered_glue", "glue-task": task, "valid-subset": ",".join(validation_splits(task))}
    if task in (OWN_TASK, HATEMOJI.name):
        return {"task": "rendered_glue", "valid-subset": "valid"}
    raise UserError(f"task {task} of the recipe: none of {', '.join((*GLUE_TASKS, *XNLI_SETTINGS))}")


def validation_splits(task) -> list[str]:
    """The labeled splits of a GLUE task that are not trained on; the first decides which checkpoint is best."""
    _, sources = GLUE_TASKS[task]
    return [source.split for source in sources if source.label is not None and source.split != "train"]
