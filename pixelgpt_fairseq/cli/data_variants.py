"""Data folders that differ from another in one thing, a font, a render mode or an attack: rendered where they lack.

Training on attacked text, and the paper's side experiments, read the same examples as ever, drawn otherwise. Such a
folder lies beside the one that it is made like, under its name and what differs: ``sst2-inner-swap-0.5-seed1``.
"""

import dataclasses
import itertools
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from pixelgpt_fairseq.cli import render_glue, render_xnli
from pixelgpt_fairseq.cli.attack_options import perturbations_of
from pixelgpt_fairseq.data.data_folder import DataFolder
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.finetuning.recipes import XNLI_SETTINGS
from pixelgpt_fairseq.rendering.config import RENDER_MODES
from pixelgpt_fairseq.rendering.fonts import FontFile
from pixelgpt_fairseq.sources.glue import GLUE_TASKS
from pixelgpt_fairseq.sources.hatemoji import HATEMOJI

COLOR = "colour"  # the experiment whose font draws what the others lack, emoji, and needs shaped text
_ONE_CHANNEL = ("gray", "binary")


@dataclass(frozen=True)
class Variant:
    """What a run reads.

    Attributes:
        name: what differs from the data as they are, for folders; empty if nothing does.
        options: of the command that renders it.
        model_options: of fairseq-train.
        perturbations: split -> Perturbation, or None where its text stays as it is.
        renderer: settings of the renderer that differ.
        record: what differs, for the record of a run.
    """

    name: str
    options: tuple[str, ...] = ()
    model_options: tuple[str, ...] = ()
    perturbations: dict = field(default_factory=dict)
    renderer: dict = field(default_factory=dict)
    record: dict = field(default_factory=dict)


def variants_of(args, recipe, data) -> list[Variant]:
    """The variants of the folder *data* that a command asks for; one without a name if it asks for none.

    Raises:
        UserError: for an attack that cannot be made, or a font that is not there.
    """
    if not args.experiment and (args.font or args.render_mode):
        raise UserError("--font and --render-mode: of which experiment? Name one with --experiment")
    folder = DataFolder(data)
    perturbations = perturbations_of(args, folder.splits())
    attack = _attacked(args, perturbations)
    fonts, modes = args.font or recipe.font or [None], args.render_mode or recipe.render_mode or [None]
    if recipe.experiment != COLOR:
        # Without colors, rgb is what a model of three channels makes of gray strips: gray in all three.
        modes = [None if mode == "rgb" else mode for mode in modes]
    return [
        _variant(attack, *_font(font, recipe, folder), *_mode(mode), perturbations)
        for font, mode in itertools.product(fonts, modes)
    ]


def _attacked(args, perturbations):
    """(parts of the name, options, record) of the attack."""
    chosen = next(filter(None, perturbations.values()), None)
    if chosen is None:
        return [], [], {}
    parts = [chosen.name, f"{chosen.severity:g}", f"seed{chosen.seed}"]
    options = ["--attack", chosen.name, "--severity", str(chosen.severity), "--seed", str(chosen.seed)]
    record = {"attack": str(chosen)}
    if args.typos:
        options += ["--typos", args.typos]
    if any(each is None for each in perturbations.values()):
        parts.append(args.attack_splits.replace(",", "+"))
        options += ["--attack-splits", args.attack_splits]
        record["attack"] += f", {args.attack_splits}"
    return parts, options, record


def _font(font, recipe, folder):
    """(part of the name, the fonts, settings) of a font; the folder's own fonts draw what it lacks."""
    if font is None:
        return None, (), {}
    chosen, own = FontFile.from_path(font), folder.renderer_config().fonts
    chain = (*own, chosen) if recipe.experiment == COLOR else (chosen, *own)
    return Path(chosen.name).stem, chain, {"backend": "pillow"} if recipe.experiment == COLOR else {}


def _mode(mode):
    """(part of the name, settings) of a render mode."""
    if mode not in (None, *RENDER_MODES):
        raise UserError(f"--render-mode {mode}: none of {', '.join(RENDER_MODES)}")
    return mode, {"render_mode": mode} if mode else {}


def _variant(attack, font, chain, font_settings, mode, mode_settings, perturbations):
    parts, options, record = attack
    settings = {**({"fonts": chain} if chain else {}), **font_settings, **mode_settings}
    options = list(options)
    if chain:
        options += ["--font", *(str(each.path) for each in chain)]
    if "backend" in settings:
        options += ["--renderer-backend", settings["backend"]]
    if mode:
        options += ["--render-mode", mode]
    return Variant(
        name="-".join(filter(None, (*parts, font, mode))),
        options=tuple(options),
        model_options=("--num-channels", "1") if mode in _ONE_CHANNEL else (),
        perturbations=perturbations,
        renderer=settings,
        record={**record, **({"font": font} if font else {}), **({"render_mode": mode} if mode else {})},
    )


def folder_of(variant, args, data, dry_run=False) -> str:
    """The folder of a variant of the folder *data*; splits that it lacks are rendered, as *data* but for what differs.

    Args:
        variant: Variant.
        args: the options of :mod:`~pixelgpt_fairseq.cli.variant_options`, and ``task``.
        data: the folder.
        dry_run: print the command that would render it; *data* stands for it then.

    Raises:
        UserError: if the folder holds another variant, its text is not named, or it cannot be rendered.
    """
    original = DataFolder(data)
    config = original.renderer_config(locate_fonts=False) if variant.name else None
    attacked = any(variant.perturbations.values())
    if not variant.name or (not attacked and not dataclasses.replace(config, **variant.renderer).differences(config)):
        return str(data)
    folder = DataFolder(f"{str(data).rstrip('/')}-{variant.name}")
    there = folder.splits() if folder.path.is_dir() else []
    for split in there:
        _check(folder, split, variant, original)
    missing = [split for split in original.splits() if split not in there]
    # How many characters the fonts may lack was decided when the original was rendered.
    common = ["--destdir", str(folder.path), "--like", str(data)]
    common += ["--max-patches", str(config.max_patches), "--max-missing", "1"]
    for main, source in _renderings(args, missing) if missing else ():
        given = [*source, *common, *variant.options]
        print(f"{folder.path}: {'would first be rendered' if dry_run else 'rendering'}: {shlex.join(given)}")
        if not dry_run:
            main(given)
    return str(data if missing and dry_run else folder.path)


def _renderings(args, splits):
    """(main of a command, its options that name the text and the splits), of all that it takes to render *splits*."""
    if args.hatemoji:
        return [(render_glue.main, ["--hatemoji", args.hatemoji, "--splits", *splits])]
    if args.glue_dir:
        if args.task not in GLUE_TASKS:
            raise UserError(
                f"--task {args.task}: not of GLUE: render its data with scripts/render_glue.py --attack or --font, and "
                "name that folder"
            )
        return [(render_glue.main, ["--glue-dir", args.glue_dir, "--task", args.task, "--splits", *splits])]
    if args.xnli_dir:
        languages = {}
        for split in splits:
            kind, _, language = split.partition(".")
            languages.setdefault(kind, []).append(language)
        return [
            (render_xnli.main, ["--xnli-dir", args.xnli_dir, "--splits", kind, "--languages", ",".join(found)])
            for kind, found in languages.items()
        ]
    option = (
        "--xnli-dir" if args.task in XNLI_SETTINGS else "--hatemoji" if args.task == HATEMOJI.name else "--glue-dir"
    )
    raise UserError(f"{option}: name where the text of {args.task} is: rendered strips hold none to attack or draw")


def _check(folder, split, variant, original):
    """Refuse a folder of another variant.

    Raises:
        UserError: naming the folder.
    """
    found, perturbation = folder.read_manifest(split).get("attack"), variant.perturbations.get(split)
    attack = {name: value for name, value in (found or {}).items() if name != "changed_sentences"}
    if attack != (perturbation.to_dict() if perturbation else {}):
        raise UserError(f"{folder.path}: split {split} holds another attack than {variant.name}: move the folder away")
    expected = dataclasses.replace(original.renderer_config(locate_fonts=False), **variant.renderer)
    differences = folder.renderer_config(locate_fonts=False).differences(expected)
    if differences:
        raise UserError(f"{folder.path}: not what {variant.name} looks like ({differences[0]}): move the folder away")
