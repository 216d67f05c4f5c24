"""The options that attack text before it is rendered, the same for every command that renders examples."""

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.perturbations import ATTACKS, Perturbation, read_typos

ALL = "all"
NATURAL_TYPO = "natural-typo"
# Why no attack can be made.
RELEASED_STRIPS = "--released has strips that are drawn already: attack the text, in the task's own files"
# Options as they are stored, and as messages call them.
_NAMES = {
    "attack": "--attack",
    "severity": "--severity",
    "attack_seed": "the seed of an attack",
    "typos": "--typos",
    "attack_splits": "--attack-splits",
}


def add_attack_options(parser, seed="--seed"):
    """Add to *parser* which attack is made on which splits; see :func:`perturbations_of`.

    Args:
        parser: is changed.
        seed: the name of the option for the attack's seed.
    """
    group = parser.add_argument_group("an attack on the text, before it is rendered and tokenized")
    group.add_argument("--attack", metavar="NAME", help=f"one of {', '.join(ATTACKS)}")
    group.add_argument("--severity", type=float, metavar="P", help="0 (nothing changes) to 1 (default: 0.5)")
    group.add_argument(
        seed, dest="attack_seed", type=int, metavar="N", help="another one changes other words (default: 1)"
    )
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
    if args.attack is None:
        if given := _given(args):
            raise UserError(f"{given[0]}: of which attack? Name one with --attack")
        return dict.fromkeys(splits)
    severity = 0.5 if args.severity is None else args.severity
    seed = 1 if args.attack_seed is None else args.attack_seed
    typos = read_typos(args.typos) if args.typos else None
    perturbation = Perturbation(args.attack, severity, seed, typos if args.attack == NATURAL_TYPO else None)
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
    if given := _given(args):
        raise UserError(f"{given[0]}: {reason}")


def _given(args):
    """The options that were given, as messages call them."""
    return [shown for name, shown in _NAMES.items() if getattr(args, name) is not None]


def _kind(split):
    return split.partition(".")[0].partition("_")[0]


def chosen_attacks(text, typos):
    """The names of the attacks that ``--attacks`` names.

    Raises:
        UserError: for one that there is not.
    """
    if text == "all":
        if typos is None:
            print(f"{NATURAL_TYPO}: left out, it needs a list of misspellings (--typos FILE)")
        return [name for name in ATTACKS if name != NATURAL_TYPO or typos is not None]
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise UserError(f"--attacks {text!r}: names none: choose from {', '.join(ATTACKS)}")
    return names


def chosen_severities(text):
    """The severities that ``--severities`` names, in rising order.

    Raises:
        UserError: for one that is no number from 0 to 1.
    """
    try:
        severities = sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        severities = []
    if not severities or not all(0 < severity <= 1 for severity in severities):
        raise UserError(
            f"--severities {text}: numbers above 0 and up to 1, with commas between them, such as 0.2,0.5,0.8"
        )
    return severities
