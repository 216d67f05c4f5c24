"""Renders items with texts (labeled examples, translations) in several processes, and counts what is in them."""

import collections
import contextlib
import itertools
from dataclasses import dataclass, field

from tqdm import tqdm

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.preprocessing.binarize import check_missing
from pixelgpt_fairseq.preprocessing.workers import map_in_order
from pixelgpt_fairseq.rendering import TextRenderer

_CHUNK = 64  # items that a process renders at a time


@dataclass
class TextTally:
    """The characters of the texts of a split, and how many texts the perturbation changed."""

    characters: collections.Counter = field(default_factory=collections.Counter)  # as rendered
    original_characters: collections.Counter = field(default_factory=collections.Counter)  # before the perturbation
    attacked: int = 0

    def add(self, original, text):
        """Count a text that was rendered in the place of *original*."""
        self.original_characters.update(original)
        self.characters.update(text)
        self.attacked += text != original

    def check_missing(self, folder, split, config, max_missing):
        """Refuse a split in whose original texts too many characters have no glyph.

        Raises:
            UserError: naming the split, scripts and counts.
        """
        try:
            check_missing(self.original_characters, config, max_missing)
        except UserError as error:
            raise UserError(f"{folder.path}, {split}: {error}") from None

    def attack(self, perturbation):
        """What the manifest records of the perturbation; None without one."""
        return dict(perturbation.to_dict(), changed_sentences=self.attacked) if perturbation else None


@contextlib.contextmanager
def rendered_items(items, make, settings, workers, unit, desc, progress=True):
    """Render items in *workers* processes.

    Args:
        items: iterable, read once, a chunk at a time.
        make: function of (item, TextRenderer, Tokenizer or None, Perturbation or None) to what is to be written of the
            item; defined in a module, so that processes can be sent it.
        settings: (RendererConfig, Tokenizer or None, Perturbation or None).
        workers: processes; one is this process itself.
        unit, desc: words for the progress bar.
        progress: show it.

    Yields:
        iterator of what *make* returns, in the order of the items.

    Raises:
        UserError: if a worker dies.
    """
    rendered = map_in_order(ChunkRenderer, (make, *settings), _chunks(items), workers)
    with contextlib.closing(rendered), tqdm(unit=f" {unit}", desc=desc, disable=not progress) as bar:
        yield _counted(itertools.chain.from_iterable(rendered), bar)


def _counted(rendered, bar):
    for one in rendered:
        yield one
        bar.update()


def _chunks(items):
    """Gather items into lists."""
    items = iter(items)
    return iter(lambda: list(itertools.islice(items, _CHUNK)), [])


class ChunkRenderer:
    """Renders chunks; one in each process."""

    def __init__(self, make, config, tokenizer, perturbation):
        self.make, self.settings = make, (TextRenderer(config), tokenizer, perturbation)

    def __call__(self, items):
        """What is to be written of each of *items*: a list."""
        return [self.make(item, *self.settings) for item in items]
