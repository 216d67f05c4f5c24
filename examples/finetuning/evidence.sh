#!/usr/bin/env bash
# From GLUE's and XNLI's folders to the tables of "Evidence" in README.md: text, two small DualGPTs, fine-tuned models.
#
#     bash examples/finetuning/evidence.sh GLUE XNLI WORK
#
# takes some five hours of one core; every line of `jobs` below stands alone once its checkpoint is there. What is in WORK
# already is not made again.
set -euo pipefail
glue=$(realpath "$1") xnli=$(realpath "$2") work=$(realpath -m "$3")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export OMP_NUM_THREADS=1
mkdir -p "$work"

# The sentences of the training sets, without their labels, and the same cut into lines of one to four words.
[ -e "$work/train.txt" ] || python - "$glue" "$work" <<'PYTHON'
import random
import sys
from pathlib import Path

from pixelgpt_fairseq.sources.examples import read_examples
from pixelgpt_fairseq.sources.glue import GLUE_TASKS, find_source

glue, work = sys.argv[1:]
sentences = {}
for name in ("sst2", "cola", "rte"):
    task, sources = GLUE_TASKS[name]
    source = next(source for source in sources if source.split == "train")
    examples = read_examples(find_source(source, glue), task, source.columns, source.label)
    sentences.update((text, None) for example in examples for text in example.texts)
sentences = list(sentences)
random.Random(1).shuffle(sentences)
rng = random.Random(2)
for split, chosen in (("train", sentences[1000:]), ("valid", sentences[:1000])):
    pieces = []
    for sentence in chosen:
        words = sentence.split()
        while words:
            length = rng.choice((1, 2, 3, 4))
            pieces.append(" ".join(words[:length]))
            words = words[length:]
    rng.shuffle(pieces)
    Path(work, f"{split}_pieces.txt").write_text("\n".join(pieces[:3000] if split == "valid" else pieces) + "\n")
    Path(work, f"{split}.txt").write_text("\n".join(chosen) + "\n")
PYTHON

render() { # VOCABULARY
    local folder=$work/$1 task split
    local tokenizer=(--tokenizer "$folder/sentences/tokenizer.model")
    corpus() { python scripts/render_corpus.py --documents line --input "$work/$1.txt" --destdir "$folder/$2" "${@:3}"; }
    [ -e "$folder/xnli" ] && return # the last of them
    corpus train sentences --split train --train-tokenizer "$1"
    corpus valid sentences --split valid
    for split in train valid; do corpus ${split}_pieces pieces --split $split "${tokenizer[@]}"; done
    for task in sst2 cola rte; do
        python scripts/render_glue.py --glue-dir "$glue" --task $task --destdir "$folder/$task" "${tokenizer[@]}"
    done
    python scripts/render_xnli.py --xnli-dir "$xnli" --destdir "$folder/xnli" "${tokenizer[@]}"
}

train() { # NAME DATA UPDATES LR, and what differs
    local name=$1 data=$2 updates=$3 lr=$4
    grep -qs "done training" "$work/runs/$name/train.log" && return
    fairseq-train "$work/$data" --user-dir pixelgpt_fairseq --arch pixelgpt_small --cpu --bf16 --max-update "$updates" \
        --optimizer adam --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1.0 --lr "$lr" --log-format simple \
        --log-interval 50 --no-epoch-checkpoints --save-dir "$work/runs/$name" \
        --log-file "$work/runs/$name/train.log" "${@:5}"
}

pretrain() { # NAME DATA UPDATES RATE_ZERO_AT BATCH MODALITIES WEIGHTS PATCH_WEIGHT [START]
    train "$1" "$2" "$3" 1e-3 --lr-scheduler cosine --warmup-updates 200 --lr-period-updates $(($4 - 200)) \
        --batch-size "$5" --task rendered_pretraining --modalities "$6" --modality-weights "$7" \
        --criterion patch_token_loss --patch-loss-weight "$8" --sample-break-mode eos --tokens-per-sample 512 \
        --pair-patches 256 --pair-tokens 256 --validate-interval-updates 500 --save-interval-updates 500 \
        ${9:+--finetune-from-model "$work/runs/$9/checkpoint_last.pt"}
}

finetune() { # NAME DATA UPDATES SEED MODALITY METRIC, and what differs; twice: from a pretrained model and from scratch
    local rate=3e-4 pretrained=words start
    [ "$5" = pixel ] && rate=1e-4 pretrained=letters
    for start in "" $pretrained; do
        train "${start:-scratch}-$1-$5-$4" "$2" "$3" $rate --lr-scheduler polynomial_decay --warmup-updates 60 \
            --total-num-update "$3" --seed "$4" --modality "$5" --criterion rendered_classification --batch-size 64 \
            --max-positions 256 --best-checkpoint-metric "$6" --maximize-best-checkpoint-metric "${@:7}" \
            ${start:+--finetune-from-model "$work/runs/$start/checkpoint_last.pt"}
    done
}

glue() { # TASK UPDATES EVERY SEED MODALITY METRIC
    finetune "$1" "$data/$1" "$2" "$4" "$5" "$6" --task rendered_glue --glue-task "$1" --validate-interval-updates "$3" --no-save
}

xnli() { # SETTING UPDATES EVERY MODALITY
    finetune "xnli_${1//-/_}" "$data/xnli" "$2" 1 "$4" average_accuracy --task rendered_xnli --setting "$1" \
        --validate-interval-updates "$3" --no-last-checkpoints
}

render 2000
render 8000
pretrain letters0 2000/pieces 2000 4000 256 pair 1 0.3
pretrain letters 2000/sentences 5000 5000 64 text,pixel,pair 1,3,1 10 letters0
pretrain words0 8000/pieces 1000 2000 256 pair 1 0.3
pretrain words 8000/sentences 2400 2400 64 text,pixel,pair 4,1,1 1 words0
for modality in text pixel pair; do
    data=8000 updates=1053
    [ $modality = pixel ] && data=2000 updates=2106
    for seed in 1 2 3; do glue sst2 $updates 351 $seed $modality accuracy; done
    glue cola 536 134 1 $modality matthews_correlation
    glue rte 117 39 1 $modality accuracy
    xnli translate-train-all 204 102 $modality
    xnli cross-lingual-transfer 188 94 $modality
done
python scripts/summarize_results.py "$work"/runs/*-*/train.log
