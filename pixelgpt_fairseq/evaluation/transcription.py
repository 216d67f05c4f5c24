"""How well a model reads lines of text from their pictures: mistakes by the number of words."""

import collections
from typing import NamedTuple

from pixelgpt_fairseq.criterions.text_scores import edit_distance
from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.sources.examples import clean
from pixelgpt_fairseq.sources.tables import read_lines

MOST_WORDS = 8  # longer lines share one row


class TranscribedLine(NamedTuple):
    """A line and what a model read in its picture.

    Attributes:
        text: the line, words joined by single spaces.
        read: what the model wrote, words joined by single spaces.
        edits: the fewest characters to insert, delete or replace that make one of the other.
    """

    text: str
    read: str
    edits: int


class ReadingRow(NamedTuple):
    """Lines of one length.

    Attributes:
        words: such as ``"3"``, ``"9+"`` or ``"all"``.
        lines: their number.
        exact: how many were read without a mistake.
        edits: characters to insert, delete or replace in all of them.
        characters: of the lines themselves.
    """

    words: str
    lines: int
    exact: int
    edits: int
    characters: int

    @property
    def exact_rate(self) -> float:
        """Share of the lines that were read without a mistake, in percent."""
        return 100 * self.exact / self.lines

    @property
    def cer(self) -> float:
        """Character error rate in percent: above 100 where the model writes much more than there is to read."""
        return 100 * self.edits / self.characters


def transcribe(loaded, lines, max_tokens=None, beam=1, batch_size=32, path="lines") -> list[TranscribedLine]:
    """Draw lines of text, and let a model write what their pictures say.

    Args:
        loaded: LoadedModel, trained on strips and tokens; see :func:`pixelgpt_fairseq.load`.
        lines: pairs of a number, for messages, and a text.
        max_tokens: the most tokens that are written of each line; None: as many as the model's positions allow, at
            most 200.
        beam: hypotheses that are kept of each line; 1 is greedy.
        batch_size: lines at a time; those of similar lengths go together.
        path: names the lines in messages.

    Returns:
        A TranscribedLine for each line, in their order.

    Raises:
        UserError: if the model does not read strips or write tokens, or a line is longer than its strips.
    """
    texts, strips = [], []
    for number, text in lines:
        texts.append(" ".join(text.split()))
        try:
            strips.append(loaded.draw_source(texts[-1]))
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
    found = [None] * len(texts)
    order = sorted(range(len(texts)), key=lambda index: strips[index].num_text_patches)
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        written = loaded.generate_text([strips[index] for index in indices], max_tokens, "pixel", beam)
        for index, each in zip(indices, written, strict=True):
            read = " ".join(each.text.split())
            found[index] = TranscribedLine(texts[index], read, edit_distance(read, texts[index]))
    return found


def tabulate_reading(transcribed, most_words: int = MOST_WORDS) -> list[ReadingRow]:
    """Count mistakes by the number of words of a line: a ReadingRow for each number that occurs, and one for all.

    Args:
        transcribed: TranscribedLines.
        most_words: lines of more words share one row.
    """
    groups = collections.defaultdict(list)
    for line in transcribed:
        groups[min(len(line.text.split()), most_words + 1)].append(line)
    names = {most_words + 1: f"{most_words + 1}+"}
    rows = [_row(names.get(words, str(words)), groups[words]) for words in sorted(groups)]
    return [*rows, _row("all", transcribed)]


def _row(words, lines):
    exact = sum(not line.edits for line in lines)
    return ReadingRow(
        words, len(lines), exact, sum(line.edits for line in lines), sum(len(line.text) for line in lines)
    )


def reading_table(rows) -> str:
    """Rows of :func:`tabulate_reading` in Markdown."""
    lines = ["| words | lines | exact | CER |", "|---|---|---|---|"]
    lines += [f"| {row.words} | {row.lines:,} | {row.exact_rate:.1f} % | {row.cer:.2f} % |" for row in rows]
    return "".join(f"{line}\n" for line in lines)


def numbered_lines(path, most=None) -> list[tuple[int, str]]:
    """The lines of a text file that are not blank, with their numbers, as :func:`transcribe` takes them.

    Args:
        path: see :func:`~pixelgpt_fairseq.sources.tables.read_lines`.
        most: only the first so many; None: all.

    Raises:
        UserError: if the file cannot be read, or has no such lines.
    """
    found = []
    for number, text in read_lines(path):
        if most is not None and len(found) == most:
            break
        if text := clean(text):
            found.append((number, text))
    if not found:
        raise UserError(f"{path}: no lines of text")
    return found
