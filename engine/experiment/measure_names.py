"""The names of measures that a claim may use, known without computing any."""

from batchscope.engine.spec import Configuration

SIZES, PAIRS = "probe.batch_sizes", "probe.pairs"
NAMES = {SIZES: "probed batch size", PAIRS: "large batch size"}
"""Settings whose values are levels within one training, and what such a level is called."""
TRIAL_COLUMNS = (
    "trial", "status", "batch_size", "micro_batch_size", "accumulation_steps", "seed", "dataset",
    "model", "optimizer", "lr", "scaling_rule", "epochs", "steps", "samples", "train_loss",
    "train_accuracy", "test_loss", "test_accuracy", "best_test_accuracy", "generalization_gap",
    "epoch_seconds", "samples_per_second", "peak_memory_bytes", "init_norm", "distance_from_init",
    "noise_scale", "configuration", "label", "attempt", "reason", "path_length", "memory_cuts",
    "precision", "batch_norm_size", "noise_draws", "validation_loss", "validation_accuracy",
    "steps_to_target", "samples_to_target", "seconds_to_target", "selected",
    "stacked", "sgd_noise_scale", "sharpness", "data_parallel", "device",
)  # fmt: skip
TEXT_COLUMNS = (
    "trial", "status", "dataset", "model", "optimizer", "scaling_rule", "configuration", "label",
    "reason", "precision", "selected", "device",
)  # fmt: skip
ACCURACIES = (
    "test_accuracy",
    "train_accuracy",
    "best_test_accuracy",
    "generalization_gap",
    "validation_accuracy",
    "bias",
    "variance",
    "variance_unbiased",
    "variance_biased",
    "net_variance",
)
FINDING_NAMES = (
    "step_seconds",
    "training_seconds",
    "noise_scale_growth",
    "weight_norm",
    "grad_norm_mean",
    "grad_norm_mean_early",
    "grad_norm_mean_late",
    "grad_norm_cv",
    "grad_norm_cv_early",
    "grad_norm_cv_late",
    "update_norm_mean",
    "path_per_sample",
    "distance_at_equal_samples",
    "distance_log_slope",
    "distance_log_r2",
    "distance_power",
    "bias",
    "variance",
    "variance_unbiased",
    "variance_biased",
    "net_variance",
)
DRAWN_NAMES = (
    "probe_norm_mean",
    "probe_norm_cv",
    "probe_kurtosis",
    "pairwise_cosine",
)
COMPETED_NAMES = (
    "competition_cosine",
    "competition_length_ratio",
    "competition_straightness",
    "competition_step_cosine",
)
PROBED = (*DRAWN_NAMES, *COMPETED_NAMES)
SHARPNESS = "sharpness"
MEASURES = (
    *(name for name in TRIAL_COLUMNS if name not in TEXT_COLUMNS),
    *FINDING_NAMES,
    *PROBED,
)
FITTING: dict[str, tuple[str, ...]] = {SIZES: DRAWN_NAMES, PAIRS: COMPETED_NAMES}
"""The measures that have a value at each level."""


def is_probed(configuration: Configuration, over: str = "", at_share: float | None = None) -> bool:
    """Whether its trials hold still, at that moment and for levels of `over` where given."""
    probe = configuration.settings.probe
    levels = {SIZES: probe.batch_sizes, PAIRS: probe.pairs}.get(over, (None,))
    return bool(levels) and (bool(probe.at) if at_share is None else at_share in probe.at)
