"""How much of everything a budget of time pays for: all sizes in one place."""

from dataclasses import dataclass, field, replace

MODALITIES = ("text", "pixel", "pair")
REGIMES = {"textgpt": "text", "pixelgpt": "pixel", "monogpt": "text,pixel", "dualgpt": "text,pixel,pair"}
# Packages of English prose, the most varied first; then translated manuals.
ENGLISH = ("dict-wn", "fortunes", "developers-reference", "debian-policy", "manpages", "manpages-dev")
MORE_ENGLISH = ("anarchism", "dict-gcide", "dict-foldoc", "debian-handbook", "python3.11-doc", "debian-reference-en")
TRANSLATED = ("manpages-de", "manpages-es", "manpages-fr", "manpages-pl", "manpages-pt-br", "manpages-ru")


@dataclass(frozen=True)
class Budget:
    """The sizes of everything, by default those of half an hour of two cores.

    Of several numbers of updates, each is a point at which the model is looked at.
    """

    name: str
    gpu: bool = False
    compile: bool = False  # pays where a run is long
    workers: int = 1  # processes that render
    jobs: int | None = None  # stages at a time, where --jobs does not say it; None: as many as there are cores
    arch: str = "pixelgpt_small"
    # The corpus.
    packages: tuple[str, ...] = ENGLISH
    most_mb: float = 2  # of text from packages
    most_lines: int = 150_000  # of one to four words
    vocabulary: int = 2000  # small: the fewer tokens there are, the sooner the model reads
    structure: str = "words"  # of strips: a small model makes out words sooner where each begins at a patch
    # Pretraining of the DualGPT.
    patch_loss_weight: float = 0.3  # of the next patch beside the next token, which is what reading is learned from
    rate: float = 1e-3
    line_updates: tuple[int, ...] = (600, 1200, 2400)  # on pairs of short lines
    line_batch: int = 128
    sentence_rate: float = 5e-4
    sentence_updates: tuple[int, ...] = (400,)  # on sentences, after that
    sentence_batch: int = 64
    sentence_mixture: tuple[str, str] = ("text,pixel,pair", "1,1,8")  # modalities, and their shares of the updates
    regime_updates: int = 60  # of each of the four regimes, from scratch on sentences
    # Fine-tuning. SST-2 has 67,349 examples: 1,053 updates of 64 read it once.
    finetuning_batch: int = 64
    tasks: tuple[str, ...] = ("sst2",)
    finetuning_updates: dict = field(default_factory=lambda: {"text": 263, "pixel": 263, "pair": 263})
    long_updates: dict = field(default_factory=dict)  # of further runs from the last point; on attacked text, too
    long_seeds: int = 1  # of these
    finetuning_rate: float = 3e-4
    finetuning_dropout: float = 0.2
    seeds: int = 3  # of runs from the last point
    scratch_seeds: int = 3  # of runs from scratch
    between: dict = field(default_factory=lambda: {"text": (), "pixel": (0, 1, 2), "pair": ()})  # which points
    # Evaluation.
    read_lines: int = 20  # of each length from one to ten words
    attacks: str = "all"
    severities: str = "0.2,0.5,0.8"
    attack_seeds: int = 1
    attacked_seeds: int = 1  # fine-tuned models of a modality that are attacked: of those that train longer, if any
    attacked_training: tuple[str, ...] = ()  # attacks on text that models are also trained on
    # Processor seconds (or of a GPU) of a stage, or of one update of it; for the plan alone.
    pace: dict = field(default_factory=dict)


CPU_PACE = {
    "corpus": 25,
    "render": 40,
    "start": 10,  # of fairseq-train
    "lines": 0.26,
    "sentences": 0.33,
    "text": 0.14,
    "pixel": 0.17,
    "pair": 0.32,
    "read": 30,
    "attack": 4,
}
# An H100 that seven processes share, models of pixelgpt_small; of the released size nothing is measured.
GPU_PACE = CPU_PACE | {
    "render": 30,
    "start": 20,
    "lines": 0.04,
    "sentences": 0.04,
    "text": 0.03,
    "pixel": 0.03,
    "pair": 0.03,
    "read": 20,
    "attack": 2,
}
_HALF_HOUR = Budget("cpu-half-hour", pace=CPU_PACE)
_HOUR = replace(
    _HALF_HOUR,
    name="cpu-hour",
    line_updates=(900, 1800, 3600),
    sentence_updates=(1000,),
    regime_updates=120,
    finetuning_updates={"text": 526, "pixel": 702, "pair": 526},
    long_updates={"text": 3159, "pixel": 3159},
    long_seeds=2,
    attacked_seeds=2,
)
_TWO_HOURS = replace(
    _HOUR,
    name="cpu-two-hours",
    long_seeds=3,
    attacked_seeds=3,
    attacked_training=("inner-swap", "confusable"),
)
_DAY = replace(
    _TWO_HOURS,
    name="cpu-day",
    packages=ENGLISH + MORE_ENGLISH + TRANSLATED,
    most_mb=20,
    most_lines=600_000,
    vocabulary=4000,
    line_updates=(1000, 2000, 4000, 8000),
    line_batch=256,
    sentence_updates=(4000, 8000, 16000),
    regime_updates=4000,
    tasks=("sst2", "cola", "rte"),
    finetuning_updates={"text": 2106, "pixel": 4212, "pair": 2106},
    long_updates={"text": 12636, "pixel": 12636, "pair": 12636},
    between={"text": tuple(range(6)), "pixel": tuple(range(6)), "pair": tuple(range(6))},
    read_lines=100,
    attack_seeds=3,
    pace=CPU_PACE | {"render": 400, "lines": 0.77},
)
# The small model: in as many minutes, pixelgpt_base read worse (docs/evidence.md).
_GPU_QUARTER = replace(
    _HOUR,
    name="gpu-quarter-hour",
    gpu=True,
    workers=8,
    jobs=9,
    most_lines=500_000,
    line_batch=256,
    line_updates=(750, 1500, 3000),
    sentence_batch=128,
    sentence_updates=(2500,),
    finetuning_dropout=0.1,
    long_updates={"text": 4212, "pixel": 4212, "pair": 4212},
    scratch_seeds=1,
    long_seeds=3,
    attacked_seeds=3,
    read_lines=50,
    pace=GPU_PACE,
)
_GPU_DAY = replace(
    _DAY,
    name="gpu-day",
    gpu=True,
    compile=True,
    jobs=2,
    arch="pixelgpt",
    most_mb=300,
    most_lines=2_000_000,
    vocabulary=8000,
    rate=3e-4,
    line_updates=(2500, 5000, 10000, 20000),
    line_batch=512,
    sentence_updates=(10000, 20000, 40000),
    sentence_batch=256,
    regime_updates=5000,
    pace=GPU_PACE | {"start": 60, "lines": 0.25, "sentences": 0.5, "text": 0.1, "pixel": 0.1, "pair": 0.15},
)
_SMOKE = replace(
    _HALF_HOUR,
    name="smoke",
    arch="pixelgpt_tiny",
    packages=(),
    most_lines=200,
    vocabulary=400,
    line_updates=(2,),
    line_batch=8,
    sentence_updates=(2,),
    sentence_batch=4,
    regime_updates=2,
    finetuning_updates={"text": 4, "pixel": 2, "pair": 2},
    long_updates={"pixel": 4},
    seeds=1,
    scratch_seeds=1,
    between={"text": (0,), "pixel": (), "pair": ()},
    read_lines=2,
    attacks="inner-swap",
    severities="0.5",
)
# The last is for the tests: a model that learns nothing, in seconds.
BUDGETS = {budget.name: budget for budget in (_HALF_HOUR, _HOUR, _TWO_HOURS, _DAY, _GPU_QUARTER, _GPU_DAY, _SMOKE)}
