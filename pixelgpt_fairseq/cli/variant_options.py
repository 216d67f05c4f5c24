"""The options of fine-tuning on data that are attacked, or drawn in another font or render mode."""

from pixelgpt_fairseq.cli.attack_options import add_attack_options


def add_variant_options(parser):
    """Add to *parser* what the data that are trained on differ in, and where their text is."""
    group = parser.add_argument_group("the paper's side experiments: the data of --data, drawn otherwise")
    group.add_argument("--experiment", metavar="NAME", help="font, render_mode, color: a run for each font and mode")
    group.add_argument(
        "--font", nargs="+", metavar="FILE", help="fonts of your own instead of the experiment's: a run for each"
    )
    group.add_argument(
        "--render-mode", nargs="+", metavar="MODE", help="these alone of the experiment's: a run for each"
    )
    text = parser.add_argument_group("where the text of --data is, for an attack or an experiment")
    text.add_argument("--glue-dir", metavar="DIR", help="GLUE as distributed")
    text.add_argument("--xnli-dir", metavar="DIR", help="XNLI as distributed")
    text.add_argument("--hatemoji", metavar="PATH", help="HatemojiBuild's CSV file, or the folder of its files")
    add_attack_options(parser, seed="--attack-seed")
