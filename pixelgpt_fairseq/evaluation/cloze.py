"""How often a model finds the last word of a passage, or the short answer to a question (LAMBADA, bAbI)."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import torch

from pixelgpt_fairseq.errors import UserError
from pixelgpt_fairseq.evaluation.ocr import ocr_readers
from pixelgpt_fairseq.generation.patches import continue_strips, patches_to_pixels, prompt_patches
from pixelgpt_fairseq.generation.reading import read_continuation

FORMATS = ("json", "text", "babi")
_LETTERS = re.compile(r"[^\W\d_]+")
_BABI_LINE = re.compile(r"^(\d+) (.*)$")
_TOKENS = 8  # that a word is looked for in


class ClozeItem(NamedTuple):
    """A passage, and the word that follows it."""

    prompt: str
    answer: str


class ClozeAnswer(NamedTuple):
    """What a model made of an item.

    Attributes:
        item: the ClozeItem.
        words: reader -> the first word that it read, in lower case; "" for none.
        rank: of a text model the place of the answer's first token among all tokens, from 1; else None.
    """

    item: ClozeItem
    words: dict[str, str]
    rank: int | None


def read_items(path, layout: str | None = None) -> list[ClozeItem]:
    """Read passages with their last words, or questions with their answers.

    Args:
        path: UTF-8. ``json``: JSON lines with the key ``text`` (LAMBADA); ``text``: a passage a line; ``babi``:
            numbered lines, in which a question, its answer and the numbers of other lines are separated by tabs.
        layout: one of ``FORMATS``; None: what the first line looks like.

    Raises:
        UserError: if the file cannot be read, or has no items.
    """
    try:
        lines = [line.strip("\n") for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8") from None
    lines = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if layout is None and lines:
        first = lines[0][1].lstrip()
        layout = "json" if first.startswith("{") else "babi" if _BABI_LINE.match(first) else "text"
    items = _babi_items(lines) if layout == "babi" else [_passage(path, *each, layout) for each in lines]
    if not items:
        raise UserError(f"{path}: no passages or questions (--format {'|'.join(FORMATS)})")
    return items


def _passage(path, number, line, layout):
    if layout == "json":
        try:
            line = json.loads(line)["text"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: line {number}: not a JSON object with the key text") from None
    prompt, _, answer = str(line).strip().rpartition(" ")
    if not prompt.strip() or not first_word(answer):
        raise UserError(f"{path}: line {number}: a passage has several words, and a last one of letters")
    return ClozeItem(prompt.strip(), first_word(answer))


def _babi_items(lines):
    items, story = [], []
    for _, line in lines:
        match = _BABI_LINE.match(line.strip())
        if not match:
            continue
        if match[1] == "1":
            story = []
        question, *rest = match[2].split("\t")
        if rest:
            items.append(ClozeItem(" ".join([*story, question.strip()]), first_word(rest[0])))
        else:
            story.append(question.strip())
    return items


def first_word(text: str) -> str:
    """The first run of letters of a text, in lower case; "" if there is none."""
    match = _LETTERS.search(text)
    return match[0].lower() if match else ""


def answer_by_patches(loaded, items, max_patches=4, batch_size=16, alphabet=None, ocr=True, words=None):
    """Let a model draw what follows each passage, from a patch border on, and read it.

    Args:
        loaded: LoadedModel.
        items: ClozeItems.
        max_patches: the most patches to draw.
        batch_size: passages at a time.
        alphabet, words: see :func:`~pixelgpt_fairseq.generation.reading.read_strip`.
        ocr: let the OCR programs that are installed read, too.

    Returns:
        A ClozeAnswer for each item.

    Raises:
        UserError: if the model generates no patches, or its strips cannot be read.
    """
    config = loaded.renderer.config
    if config.backend != "pygame":
        raise UserError(f"{loaded.path}: strips of the backend {config.backend} cannot be read back")
    readers = {"strip": lambda pixels, start: read_continuation(pixels, start, config, alphabet, words).text}
    if ocr:
        readers |= ocr_readers()
    room = loaded.model.max_positions() - max_patches + 1
    answers = []
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        prompts = [_fitting_prompt(loaded.renderer, item.prompt, room) for item in batch]
        found = continue_strips(loaded.model, prompts, max_patches)
        for item, prompt, new in zip(batch, prompts, found, strict=True):
            pixels = patches_to_pixels(torch.cat([prompt, new.patches]), config.patch_size)
            start = len(prompt) * config.patch_size
            found_words = {name: first_word(read(pixels, start)) for name, read in readers.items()}
            answers.append(ClozeAnswer(item, found_words, None))
    return answers


@torch.inference_mode()
def answer_by_tokens(loaded, items) -> list[ClozeAnswer]:
    """Let a model write what follows each passage, and rank the answer's first token among all.

    Raises:
        UserError: if the model writes no text.
    """
    answers = []
    for item in items:
        found = loaded.generate_text(item.prompt, _TOKENS, modality="text")
        answers.append(ClozeAnswer(item, {"tokens": first_word(found.text)}, _rank(loaded, item)))
    return answers


def summarize(answers, words=None) -> dict[str, float]:
    """Shares of all items: ``accuracy`` of each reader and of any, and ``readable``: a reader's word is in a list.

    Args:
        answers: from one of the functions above.
        words: a set of words in lower case; None: nothing is said of them.

    Returns:
        dict: name -> share; for text models also ``mean reciprocal rank``.
    """
    count = len(answers)
    shares = {}
    for name in answers[0].words:
        shares[f"accuracy by {name}"] = sum(each.words[name] == each.item.answer for each in answers) / count
    if len(answers[0].words) > 1:
        shares["accuracy by any"] = sum(each.item.answer in each.words.values() for each in answers) / count
    if words is not None:
        for name in answers[0].words:
            shares[f"readable by {name}"] = sum(each.words[name] in words for each in answers) / count
    if answers[0].rank is not None:
        shares["mean reciprocal rank"] = sum(1 / each.rank for each in answers) / count
    return shares


def _fitting_prompt(renderer, text, room):
    """The strip of a passage, without its first words where it is too long for the model."""
    words = text.split()
    while True:
        try:
            prompt = prompt_patches(renderer, " ".join(words), shift=True)
            if len(prompt) <= room:
                return prompt
        except UserError:
            if len(words) == 1:
                raise
        if len(words) == 1:
            raise UserError(f"{text[:40]!r}: longer than the {room} patches that the model reads")
        words = words[max(1, len(words) // 8) :]


def _rank(loaded, item):
    tokenizer = loaded.tokenizer
    prompt, whole = ([tokenizer.bos, *tokenizer(text)] for text in (item.prompt, f"{item.prompt} {item.answer}"))
    shared = next((i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt))
    tokens = torch.tensor([whole[:shared]], device=loaded.device)
    logits = loaded.model(tokens=tokens).token_logits[0, -1]
    return int((logits > logits[whole[shared]]).sum()) + 1
