"""The options that attack text before it is rendered, the same for every command that renders examples."""

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.perturbations import ATTACKS, Perturbation, read_typos

ALL = "all"
RELEASED_STRIPS = "--released-dir has strips that are drawn already: attack the text, in the task's own files"


def add_attack_options(parser):
    """Add to *parser* which attack is made on which splits; see :func:`perturbation_of`."""
    group = parser.add_argument_group("an attack on the text, before it is rendered and tokenised")
    group.add_argument("--attack", metavar="NAME", help=f"one of {', '.join(ATTACKS)}")
    group.add_argument("--severity", type=float, metavar="P", help="0 (nothing changes) to 1 (default: 0.5)")
    group.add_argument("--seed", type=int, metavar="N", help="another one changes other words (default: 1)")
    group.add_argument("--typos", metavar="FILE", help="natural-typo: on each line a word, then misspellings of it")
    group.add_argument(
        "--attack-splits",
        metavar="SPLITS",
        help=f"with commas between them, such as valid,test: the text of the others stays as it is (default: {ALL})",
    )


def perturbations_of(args, splits) -> dict[str, Perturbation | None]:
    """The perturbation of each of *splits*, None where its text stays as it is.

    ``valid`` in ``--attack-splits`` stands for ``valid_mismatched`` and ``valid.sw`` as well.

    Raises:
        UserError: for an attack that cannot be made, or options of an attack without one.
    """
    given = [name for name in ("severity", "seed", "typos", "attack_splits") if getattr(args, name) is not None]
    if args.attack is None:
        if given:
            raise UserError(f"--{given[0].replace('_', '-')}: of which attack? Name one with --attack")
        return dict.fromkeys(splits)
    severity, seed = 0.5 if args.severity is None else args.severity, 1 if args.seed is None else args.seed
    typos = read_typos(args.typos) if args.typos else None
    perturbation = Perturbation(args.attack, severity, seed, typos if args.attack == "natural-typo" else None)
    if args.attack_splits in (None, ALL):
        return dict.fromkeys(splits, perturbation)
    wanted = [name.strip() for name in args.attack_splits.split(",") if name.strip()]
    attacked = {split: [name for name in wanted if name in (split, _kind(split))] for split in splits}
    used = {name for names in attacked.values() for name in names}
    if not wanted or set(wanted) - used:
        absent = ", ".join(name for name in wanted if name not in used) or "none"
        raise UserError(
            f"--attack-splits {args.attack_splits}: {absent} is not rendered here, but {', '.join(splits)}; or {ALL}"
        )
    return {split: perturbation if names else None for split, names in attacked.items()}


def refuse_attack(args, reason):
    """Refuse ``--attack`` and its options where there is no text to attack.

    Raises:
        UserError: if one of them was given; *reason* says why it cannot be.
    """
    for name in ("attack", "severity", "seed", "typos", "attack_splits"):
        if getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')}: {reason}")


def _kind(split):
    return split.partition(".")[0].partition("_")[0]
