"""Names of the files in a run folder."""

CONFIG_NAME = "config.json"
FOLDS_NAME = "folds.json"
RESULTS_NAME = "results.json"
TIMING_NAME = "timing.json"
EXAMPLES_NAME = "examples"
CONTROL_NAME = "control_shuffled_prompts"

FOLD_NAME = "fold.json"
METRICS_NAME = "metrics.csv"
PROPOSALS_NAME = "proposals.json"
STATE_NAME = "state.ckpt"
