"""Specifications of hyperparameters and what they refuse."""

from __future__ import annotations

import pytest

from dewfall.images import catalog
from dewfall.images.catalog.hyperparameters import parse, specifications, validate

ALGORITHMS = (
    "xgboost",
    "linear-learner",
    "kmeans",
    "pca",
    "knn",
    "randomcutforest",
    "lightgbm",
    "catboost",
    "factorization-machines",
    "lda",
    "ipinsights",
)


def test_values_get_their_types_and_defaults() -> None:
    found = validate(
        "kmeans", {"k": "10", "feature_dim": "4", "extra_center_factor": "auto", "local_lloyd_tol": "0.01", "_tuning_objective_metric": "x"}
    )
    assert (found["k"], found["extra_center_factor"], found["local_lloyd_tol"], found["epochs"]) == (10, "auto", 0.01, 1)


def test_quoted_text_is_read_as_the_text() -> None:
    assert validate("linear-learner", {"predictor_type": '"regressor"'})["predictor_type"] == "regressor"


def test_settings_of_the_engine_are_taken() -> None:
    given = {"enc0_max_seq_len": "5", "enc0_vocab_size": "9", "_kvstore": "device", "_num_gpus": "auto", "_num_kv_servers": "auto"}
    assert validate("object2vec", given)["enc0_vocab_size"] == 9


@pytest.mark.parametrize(
    ("algorithm", "given", "message"),
    [
        ("kmeans", {"feature_dim": "2"}, "'k' is a required property"),
        ("kmeans", {"k": "0", "feature_dim": "2"}, "0 is less than the minimum of 1"),
        ("kmeans", {"k": "x", "feature_dim": "2"}, "'x' is not of type 'integer'"),
        ("pca", {"colour": "1"}, "Additional properties are not allowed ('colour' was unexpected)"),
        ("linear-learner", {"predictor_type": "tree"}, "'tree' is not one of"),
        ("randomcutforest", {"feature_dim": "2", "num_trees": "5000"}, "5000 is greater than the maximum of 1000"),
        ("randomcutforest", {"feature_dim": "2", "eval_metrics": "auc"}, "'auc' is not one of"),
        ("pca", {"feature_dim": "2", "num_components": "1", "mini_batch_size": "1", "subtract_mean": "maybe"}, "'maybe' is not of type 'boolean'"),
        ("xgboost", {"num_round": "1", "subsample": "0"}, "0.0 is less than the minimum of 0"),
        ("knn", {"feature_dim": "9", "k": "1", "predictor_type": "regressor", "sample_size": "9", "faiss_index_pq_m": "5"}, "'5' is not one of"),
        ("linear-learner", {"predictor_type": "regressor", "momentum": "1"}, "1.0 is greater than the maximum of 1"),
        ("linear-learner", {"predictor_type": "regressor", "early_stopping_tolerance": "0"}, "0.0 is less than the minimum of 0"),
        ("catboost", {"l2_leaf_reg": "2.5"}, "'2.5' is not of type 'integer'"),
        ("seq2seq", {"rnn_num_hidden": "33"}, "33 is not a multiple of 2"),
        ("object-detection", {"num_classes": "2", "num_training_samples": "9", "weight_decay": "1"}, "1.0 is greater than the maximum of 1"),
    ],
)
def test_refusals_say_what_is_wrong(algorithm: str, given: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        validate(algorithm, given)
    assert message in str(refused.value)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_defaults_are_within_their_ranges(algorithm: str) -> None:
    required = {"mode": "cbow", "predictor_type": "regressor" if algorithm in ("knn", "factorization-machines") else "binary_classifier"}
    given = {entry["name"]: required.get(entry["name"], "60") for entry in specifications(algorithm) if entry.get("required")}
    defaults = {name: value for name, value in validate(algorithm, given).items() if value is not None and not isinstance(value, list)}
    assert validate(algorithm, {name: str(value) for name, value in defaults.items()} | given)


# The developer guide's tuning pages: each tunable hyperparameter with the ends of its recommended range, or its recommended values.
RECOMMENDED = {
    "xgboost": "alpha 0 1000|colsample_bylevel 0.1 1|colsample_bynode 0.1 1|colsample_bytree 0.5 1|eta 0.1 0.5|gamma 0 5|lambda 0 1000"
    "|max_delta_step 0 10|max_depth 0 10|min_child_weight 0 120|num_round 1 4000|subsample 0.5 1",
    "lightgbm": "learning_rate 0.001 0.01|num_leaves 10 100|feature_fraction 0.1 1.0|bagging_fraction 0.1 1.0|bagging_freq 0 10|max_depth 15 100"
    "|min_data_in_leaf 10 200",
    "catboost": "learning_rate 0.001 0.01|depth 4 10|l2_leaf_reg 2 10|random_strength 0 10",
    "tabtransformer": "learning_rate 0.001 0.01|input_dim 16 32 64 128 256 512|n_blocks 1 12|attn_dropout 0.0 0.8|mlp_dropout 0.0 0.8"
    "|frac_shared_embed 0.0 0.5",
    "autogluon-tabular": "",
    "linear-learner": "wd 1e-7 1|l1 1e-7 1|learning_rate 1e-5 1|mini_batch_size 100 5000|use_bias True False|positive_example_weight_mult 1e-5 1e5",
    "factorization-machines": "bias_init_scale 1e-8 512|bias_init_sigma 1e-8 512|bias_init_value 1e-8 512|bias_lr 1e-8 512|bias_wd 1e-8 512"
    "|epochs 1 1000|factors_init_scale 1e-8 512|factors_init_sigma 1e-8 512|factors_init_value 1e-8 512|factors_lr 1e-8 512|factors_wd 1e-8 512"
    "|linear_init_scale 1e-8 512|linear_init_sigma 1e-8 512|linear_init_value 1e-8 512|linear_lr 1e-8 512|linear_wd 1e-8 512"
    "|mini_batch_size 100 10000",
    "knn": "k 1 1024|sample_size 256 20000000",
    "kmeans": "epochs 1 10|extra_center_factor 4 10|init_method kmeans++ random|mini_batch_size 3000 15000",
    "pca": "",
    "randomcutforest": "num_samples_per_tree 1 2048|num_trees 50 1000",
    "lda": "alpha0 0.1 10|num_topics 1 150",
    "ntm": "encoder_layers_activation sigmoid tanh relu|learning_rate 1e-4 0.1|mini_batch_size 16 2048|optimizer sgd adam adadelta"
    "|rescale_gradient 0.1 1.0|weight_decay 0.0 1.0",
    "object2vec": "dropout 0.0 1.0|early_stopping_patience 1 5|early_stopping_tolerance 0.001 0.1|enc_dim 4 4096|enc0_cnn_filter_width 1 5"
    "|enc0_layers 1 4|enc0_token_embedding_dim 5 300|enc1_cnn_filter_width 1 5|enc1_layers 1 4|enc1_token_embedding_dim 5 300|epochs 4 20"
    "|learning_rate 1e-6 1.0|mini_batch_size 1 8192|mlp_activation tanh relu linear|mlp_dim 16 1024|mlp_layers 1 4"
    "|optimizer adagrad adam rmsprop sgd adadelta|weight_decay 0.0 1.0",
    "ipinsights": "epochs 1 100|learning_rate 1e-4 0.1|mini_batch_size 100 50000|num_entity_vectors 10000 1000000|num_ip_encoder_layers 1 10"
    "|random_negative_sampling_rate 0 10|shuffled_negative_sampling_rate 0 10|vector_dim 8 256|weight_decay 0.0 1.0",
    "forecasting-deepar": "mini_batch_size 32 1028|epochs 1 1000|context_length 1 200|num_cells 30 200|num_layers 1 8|dropout_rate 0.00 0.2"
    "|embedding_dimension 1 50|learning_rate 1e-5 1e-1",
    "seq2seq": "num_layers_encoder 1 10|num_layers_decoder 1 10|batch_size 16 2048|optimizer_type adam sgd rmsprop|weight_init_type xavier uniform"
    "|weight_init_scale -1.0 3.0|learning_rate 0.00005 0.2|weight_decay 0.0 0.1|momentum 0.5 0.9|clip_gradient 1.0 5.0|rnn_num_hidden 128 2048"
    "|cnn_num_hidden 128 2048|num_embed_source 256 512|num_embed_target 256 512|embed_dropout_source 0.0 0.5|embed_dropout_target 0.0 0.5"
    "|rnn_decoder_hidden_dropout 0.0 0.5|cnn_hidden_dropout 0.0 0.5|lr_scheduler_type plateau_reduce fixed_rate_inv_t fixed_rate_inv_sqrt_t"
    "|plateau_reduce_lr_factor 0.1 0.5|plateau_reduce_lr_threshold 1 5|fixed_rate_lr_half_life 10 30",
    "image-classification": "beta_1 1e-6 0.999|beta_2 1e-6 0.999|eps 1e-8 1.0|gamma 1e-8 0.999|learning_rate 1e-6 0.5|mini_batch_size 8 512"
    "|momentum 0.0 0.999|optimizer sgd adam rmsprop nag|weight_decay 0.0 0.999",
    "object-detection": "learning_rate 1e-6 0.5|mini_batch_size 8 64|momentum 0.0 0.999|optimizer sgd adam rmsprop adadelta|weight_decay 0.0 0.999",
    "semantic-segmentation": "learning_rate 1e-4 1e-1|mini_batch_size 1 128|momentum 0.9 0.999|optimizer sgd adam adadelta|weight_decay 1e-5 1e-3",
    "text-classification": "batch_size 4 128|beta_1 1e-6 0.999|beta_2 1e-6 0.999|epsilon 1e-8 1.0|learning_rate 1e-6 0.5|momentum 0.0 0.999"
    "|optimizer adamw adam sgd rmsprop nesterov adagrad adadelta|regularizers_l2 0.0 0.999|train_only_on_top_layer True False",
}


@pytest.mark.parametrize("algorithm", RECOMMENDED)
def test_what_aws_lets_tune_is_tunable_and_nothing_else(algorithm: str) -> None:
    known = {entry["name"]: entry for entry in catalog.find_algorithm(algorithm).hyperparameters}
    recommended = dict(line.split(" ", 1) for line in RECOMMENDED[algorithm].split("|") if line)
    assert {name for name, entry in known.items() if entry.get("tunable")} == set(recommended)
    for name, values in recommended.items():
        assert [parse(known[name], value) for value in values.split()]
