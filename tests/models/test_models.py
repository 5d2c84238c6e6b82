"""Each family makes a model that trains on the batches it makes; what it cannot make it names."""

import json

import pytest
import torch
from torch import nn

from rmmbench import models
from rmmbench.errors import UnknownNameError
from rmmbench.fakes.mode import fake_tensors

HF = ["gpt2", "llama", "bert", "t5", "vit", "mixtral", "deberta-v2", "xlnet", "whisper", "wav2vec2"]
NO_HEAD = (
    "hf: trains heads of these kinds: ForSequenceClassification, ForCausalLM, ForMaskedLM, "
    "ForConditionalGeneration, ForImageClassification, ForQuestionAnswering, "
    "ForTokenClassification, ForMultipleChoice; {}; write a factory that makes model and batches: "
    "import:package.module:factory"
)


@pytest.fixture
def size(case):
    """Return how many parameters a model has, made without memory."""

    def of(model):
        with fake_tensors():
            built = models.build(case(model, seq_len=16))
        return sum(parameter.numel() for parameter in built.model.parameters())

    return of


@pytest.mark.parametrize("name", ["roberta-tiny", "mlp", "linear"])
def test_our_own_models_train(name, case, check_trains):
    """A model of ours gives a scalar loss and a gradient to every parameter."""
    check_trains(models.build(case(name, seq_len=8)))


@pytest.mark.parametrize("name", ["roberta-base", "roberta-large"])
def test_large_models_train_on_fake_tensors(name, case, check_trains):
    """The paper's models give every parameter a gradient, without their gigabytes."""
    with fake_tensors():
        check_trains(models.build(case(name, seq_len=8)))


@pytest.mark.parametrize("kind", HF)
def test_models_of_a_directory_train(small_hf, kind, case, check_trains):
    """Any config in a directory becomes a model that trains, of images as of tokens."""
    check_trains(models.build(case(small_hf(kind), seq_len=8)))


def test_a_config_name_is_a_model(case):
    """What transformers has a config for is a model by that name."""
    with fake_tensors():
        built = models.build(case("hf:gpt2", seq_len=8))
    assert type(built.model).__name__ == "GPT2LMHeadModel"
    assert built.model.config.n_layer == 12


@pytest.mark.parametrize(
    ("name", "millions"), [("roberta-base", 124.6), ("roberta-large", 355.4), ("roberta-tiny", 0.6)]
)
def test_robertas_have_their_published_size(name, millions, size):
    """RoBERTa with its classification head has as many parameters as the published one."""
    assert round(size(name) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("linear:3x5", 3 * 5 + 5),
        ("linear", 768 * 3072 + 3072),
        ("mlp:3-4-5", 3 * 4 + 4 + 4 * 5 + 5),
        ("mlp", 256 * 1024 + 1024 * 1024 + 1024 * 10 + 2 * 1024 + 10),
    ],
)
def test_sizes_are_in_the_name(name, parameters, size):
    """Layers are as wide as the name says."""
    assert size(name) == parameters


@pytest.mark.parametrize("name", ["linear:3x5", "mlp:3-5"])
@pytest.mark.parametrize(("seq_len", "leading"), [(None, (2,)), (7, (2, 7))])
def test_rows_are_samples_times_length(name, seq_len, leading, case):
    """A length is one more leading dimension where there are no tokens."""
    batch = models.build(case(name, seq_len=seq_len)).make_batch()
    assert batch["input"].shape == (*leading, 3)


def test_the_linear_layer_is_as_in_a_network(case):
    """Alone, the layer still owes its input a gradient, and gets one that is not all ones."""
    built = models.build(case("linear:3x5"))
    batch = built.make_batch()
    built.model(**batch).backward()
    expected = batch["output_gradient"] @ built.model.linear.weight
    torch.testing.assert_close(batch["input"].grad, expected)


@pytest.mark.parametrize(("task", "labels"), [("mnli", 3), ("mrpc", 2), ("stsb", 1)])
def test_a_task_sets_the_classes(task, labels, case, check_trains):
    """The head has the task's classes; STS-B is a regression."""
    built = models.build(case("roberta-tiny", task=task, seq_len=8))
    assert built.model.config.num_labels == labels
    assert built.make_batch()["labels"].is_floating_point() == (labels == 1)
    check_trains(built)


def description(model: nn.Module):
    """Return what a model consists of, and which of its parameters are one."""
    named = dict(model.named_parameters(remove_duplicate=False))
    by_object: dict[int, list[str]] = {}
    for name, parameter in named.items():
        by_object.setdefault(id(parameter), []).append(name)
    tensors = named | dict(model.named_buffers())
    shapes = {n: (t.shape, t.dtype, t.requires_grad) for n, t in tensors.items()}
    return shapes, sorted(names for names in by_object.values() if len(names) > 1)


@pytest.mark.parametrize("kind", HF)
def test_a_predicted_model_is_the_real_one(small_hf, kind, case):
    """Skipping the initialisation changes no shape, dtype, buffer or weight tie."""
    wanted = case(small_hf(kind), seq_len=8)
    with fake_tensors():
        predicted = description(models.build(wanted).model)
    assert predicted == description(models.build(wanted).model)
    ties = {
        "gpt2": [["lm_head.weight", "transformer.wte.weight"]],
        "xlnet": [["lm_loss.weight", "transformer.word_embedding.weight"]],
        "whisper": [["model.decoder.embed_tokens.weight", "proj_out.weight"]],
        "t5": [
            [
                "decoder.embed_tokens.weight",
                "encoder.embed_tokens.weight",
                "lm_head.weight",
                "shared.weight",
            ]
        ],
    }
    assert [sorted(names) for names in predicted[1]] == ties.get(kind, [])


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("bert", {"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM"),
        ("bert", {"architectures": ["BertForPreTraining"]}, "BertForSequenceClassification"),
        ("bert", {"architectures": ["BertForQuestionAnswering"]}, "BertForQuestionAnswering"),
        ("bert", {"architectures": ["BertForTokenClassification"]}, "BertForTokenClassification"),
        ("bert", {"architectures": ["BertForMultipleChoice"]}, "BertForMultipleChoice"),
        ("bert", {"architectures": ["BertModel"]}, "BertForSequenceClassification"),
        ("bert", {}, "BertForSequenceClassification"),
        ("gpt2", {}, "GPT2LMHeadModel"),
        (
            "gpt2",
            {"architectures": ["GPT2ForSequenceClassification"], "eos_token_id": 1},
            "GPT2ForSequenceClassification",
        ),
        ("t5", {}, "T5ForConditionalGeneration"),
    ],
)
def test_the_head_is_the_configs_own(small_hf, kind, changes, expected, case, loss_of):
    """The head is the one that the config names; the kind's usual one where it names none."""
    built = models.build(case(small_hf(kind, **changes), seq_len=8))
    assert type(built.model).__name__ == expected
    assert loss_of(built).shape == ()


def test_another_head_than_the_configs_is_told(small_hf, case):
    """A head that only pre-training has gives way to the usual one, with a warning that says so."""
    name = small_hf("bert", architectures=["BertForPreTraining"])
    (warning,) = models.build(case(name, seq_len=8)).warnings
    assert warning.startswith(
        "the config names BertForPreTraining, and BertForSequenceClassification is trained; set"
    )
    assert models.build(case(small_hf("bert"), seq_len=8)).warnings == ()


def test_a_head_that_cannot_be_trained_is_refused(small_hf, fault):
    """A head without batches of ours is not taken for another; what there is instead is told."""
    told = fault(small_hf("vit", architectures=["ViTForMaskedImageModeling"]))
    assert told == NO_HEAD.format("'ViTForMaskedImageModeling' is none of these")


@pytest.mark.parametrize(
    ("changes", "shape", "is_float"),
    [
        ({"problem_type": "multi_label_classification", "num_labels": 3}, (2, 3), True),
        ({"problem_type": "regression", "num_labels": 3}, (2, 3), True),
        ({"num_labels": 1}, (2,), True),
        ({"num_labels": 3}, (2,), False),
    ],
)
def test_labels_are_of_the_configs_problem(small_hf, changes, shape, is_float, case, check_trains):
    """Labels have the shape and type that the config's kind of classification reads."""
    built = models.build(case(small_hf("bert", **changes), seq_len=8))
    labels = built.make_batch()["labels"]
    assert (tuple(labels.shape), labels.is_floating_point()) == (shape, is_float)
    check_trains(built)


def test_parameters_are_float32_whatever_the_config_says(small_hf, case):
    """A config saved in bfloat16 is measured in the case's dtype, not in its own."""
    built = models.build(case(small_hf("llama", dtype="bfloat16"), seq_len=8))
    assert {parameter.dtype for parameter in built.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_attention_is_the_cases(attention, case):
    """The case says how attention is computed."""
    built = models.build(case("roberta-tiny", seq_len=8, attention=attention))
    assert built.model.config._attn_implementation == attention


@pytest.mark.parametrize(("seq_len", "fits"), [(512, True), (513, False)])
def test_robertas_positions_start_after_the_padding(seq_len, fits, case, loss_of):
    """Of RoBERTa's 514 positions 512 are for tokens; one more would be an index out of range."""
    built = None
    if fits:
        built = models.build(case("roberta-tiny", seq_len=seq_len, batch_size=1))
        assert loss_of(built).isfinite()
    else:
        with pytest.raises(ValueError, match="at most 512 for roberta-tiny, got 513"):
            models.build(case("roberta-tiny", seq_len=seq_len))


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        ("linear:3x", {}, "linear must be given as linear:INxOUT, got 'linear:3x'"),
        ("linear:3x0", {}, "linear must be given as linear:INxOUT, got 'linear:3x0'"),
        ("linear:3-4", {}, "linear must be given as linear:INxOUT, got 'linear:3-4'"),
        ("mlp:3", {}, "mlp must be given as mlp:IN-HIDDEN-OUT, got 'mlp:3'"),
        ("mlp:3-0-2", {}, "mlp must be given as mlp:IN-HIDDEN-OUT, got 'mlp:3-0-2'"),
        ("roberta-tiny:2", {"seq_len": 4}, "roberta-tiny takes no argument, got '2'"),
        ("roberta-tiny", {}, "roberta-tiny reads tokens: it needs seq_len, or a task"),
        (
            "hf:bret",
            {"seq_len": 4},
            "no transformers config named 'bret'; did you mean 'bert'?; give a directory with a "
            "config.json, or a config name of transformers such as 'gpt2'",
        ),
        (
            "hf:",
            {"seq_len": 4},
            "hf: must be followed by a directory with a config.json, or a config name of "
            "transformers such as 'gpt2', got ''",
        ),
        ("hf:qwen2_vl", {"seq_len": 4}, NO_HEAD.format("'qwen2_vl' has none of these")),
        (
            "import:nothing",
            {},
            "a model of your own must be named import:package.module:factory, got 'import:nothing'",
        ),
    ],
)
def test_what_cannot_be_made_is_told(model, settings, message, fault):
    """The error says what must hold and what was given."""
    assert fault(model, **settings) == message


def test_an_unknown_family_is_named_with_the_nearest(case):
    """A slip in the name gives the right one."""
    with pytest.raises(UnknownNameError, match="no model named 'roberta'; did you mean 'roberta-"):
        models.build(case("roberta"))


def test_a_directory_without_a_config_is_told(tmp_path, fault):
    """A directory must hold a config.json."""
    told = fault(f"hf:{tmp_path}", seq_len=4)
    assert told.endswith(f"such as 'gpt2', got '{tmp_path}'")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not a valid JSON file"),
        ("{}", "should have a `model_type` key"),
        ('{"model_type": "cold-fusion"}', "model type `cold-fusion`"),
    ],
)
def test_a_config_that_transformers_does_not_know_is_told(tmp_path, text, why, fault):
    """A config.json that is none gives its name and transformers' first reason, in one line."""
    (tmp_path / "config.json").write_text(text)
    told = fault(f"hf:{tmp_path}", seq_len=4)
    assert told.startswith(f"{tmp_path}/config.json must be a config that transformers knows: ")
    assert why.lower() in told.lower()


def test_a_config_with_code_of_its_own_is_not_run(small_hf, fault):
    """Code that a config brings along is never run, nor asked about."""
    name = small_hf("unheard-of", auto_map={"AutoConfig": "config.Mine"})
    assert "config.json must be a config that transformers knows: " in fault(name, seq_len=4)


def test_a_length_beyond_the_models_is_told(small_hf, fault):
    """A longer text than the model has positions for is refused, not predicted."""
    assert fault(small_hf("gpt2"), seq_len=65).startswith("seq_len must be at most 64 for hf:")


@pytest.mark.parametrize(
    ("quantised", "how"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
    ],
)
def test_a_config_of_quantised_weights_is_refused(tmp_path, quantised, how, fault):
    """What would be measured as float32 is not what was asked for, and that is said."""
    config = {"model_type": "llama", "hidden_size": 32, "quantization_config": quantised}
    (tmp_path / "config.json").write_text(json.dumps(config))
    told = fault(f"hf:{tmp_path}", seq_len=4)
    need = f"hf:{tmp_path} must have a config without quantization_config, got one of '{how}'"
    remedy = "take it out to measure float32 weights, or build the model with import:"
    assert told == f"{need}; {remedy}"
