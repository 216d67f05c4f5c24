import random

import pytest
import sacrebleu
import torch
from fairseq.logging import metrics

from pixelgpt_fairseq.criterions.text_scores import (
    CerScorer,
    CerScorerConfig,
    ChrfPlusPlusScorer,
    ChrfPlusPlusScorerConfig,
    edit_distance,
    log_text_scores,
    text_sums,
)

TEXTS = ["the cat sat on the mat", "a dog", "", "привет мир", "all of it is right"]
REFERENCES = ["the cat sat on a mat", "two dogs", "something", "привет, мир", "all of it is right"]


def plain_distance(text, reference):
    row = list(range(len(reference) + 1))
    for i, ours in enumerate(text, start=1):
        above, row[0] = row[0], i
        for j, theirs in enumerate(reference, start=1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (ours != theirs))
    return row[-1]


def test_edit_distances_are_those_of_the_plain_table():
    numbers = random.Random(0)
    for _ in range(300):
        text, reference = ("".join(numbers.choices(letters, k=numbers.randrange(90))) for letters in ("abc", "abcd"))
        assert edit_distance(text, reference) == plain_distance(text, reference)
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "four") == edit_distance("four", "") == 4
    assert edit_distance("", "") == 0


def test_scores_of_parts_are_those_of_the_whole():
    """Sums of batches and workers add up to the scores of the corpus, as sacrebleu computes them."""
    names = ("bleu", "chrf", "cer")
    parts = [text_sums(names, TEXTS[part], REFERENCES[part]) for part in (slice(0, 2), slice(2, 5), slice(5, 9))]
    with metrics.aggregate() as found:
        log_text_scores(names, parts[:2])
        log_text_scores(names, parts[2:])
    edits = sum(map(plain_distance, TEXTS, REFERENCES))
    assert found.get_smoothed_value("bleu") == round(sacrebleu.corpus_bleu(TEXTS, [REFERENCES]).score, 2) > 0
    assert found.get_smoothed_value("chrf") == round(sacrebleu.corpus_chrf(TEXTS, [REFERENCES]).score, 2) > 0
    assert found.get_smoothed_value("cer") == round(100 * edits / sum(map(len, REFERENCES)), 2)


def test_no_texts_have_no_scores():
    with metrics.aggregate() as found:
        log_text_scores(("bleu", "cer"), [text_sums(("bleu", "cer"))])
    assert found.get_smoothed_value("bleu") is None
    assert found.get_smoothed_value("cer") is None
    assert all(torch.count_nonzero(value) == 0 for value in text_sums(("bleu", "chrf", "cer")).values())


@pytest.mark.parametrize(("lowercase", "edits"), [(False, 3), (True, 1)])
def test_the_scorer_of_character_errors(lowercase, edits):
    scorer = CerScorer(CerScorerConfig(cer_lowercase=lowercase))
    scorer.add_string("same", "same")
    scorer.add_string("A Bit", "a bot")
    assert scorer.result_string() == f"CER: {100 * edits / 9:.2f} ({edits} edits, 9 characters; 1 of 2 texts exact)"


def test_the_scorer_of_chrf_plus_plus():
    scorer = ChrfPlusPlusScorer(ChrfPlusPlusScorerConfig())
    for text, reference in zip(TEXTS, REFERENCES, strict=True):
        scorer.add_string(reference, text)
    expected = sacrebleu.corpus_chrf(TEXTS, [REFERENCES], word_order=2)
    assert scorer.score() == expected.score
    assert scorer.result_string() == f"chrF2++ = {expected.score:.2f}"
