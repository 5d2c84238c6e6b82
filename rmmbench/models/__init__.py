"""Models to measure, one file a family. To add one: add its file, and its line here.

A model is named "name" or "name:argument", such as "roberta-base", "linear:768x3072",
"hf:path/to/config", "hf:llama:num_hidden_layers=2" or "import:package.module:factory".
"""

from importlib import import_module

from rmmbench.models.model import Builder, Built
from rmmbench.registry import Entry, Registry
from rmmbench.spec.case import Case

MODELS: Registry[Builder] = Registry(
    "model",
    __name__,
    {
        "roberta-base": Entry("roberta:base", "RoBERTa, 125 M parameters, classification head"),
        "roberta-large": Entry("roberta:large", "RoBERTa, 355 M parameters, classification head"),
        "roberta-tiny": Entry("roberta:tiny", "RoBERTa, 0.6 M parameters, for quick runs"),
        "minilm": Entry("minilm:minilm", "BERT of 6 blocks of width 384, trained on sentences"),
        "mlp": Entry("mlp:mlp", "linear layers and GELU; mlp:IN-HIDDEN-…-OUT"),
        "linear": Entry("linear:linear", "one linear layer; linear:INxOUT"),
        "decoder": Entry("decoder:decoder", "Llama's blocks; decoder:LAYERSxWIDTH[xVOCABULARY]"),
        "llama": Entry("llama:llama", "Llama 3 at its published sizes; llama:8b, llama:70b"),
        "gcn2": Entry("gcn2:gcn2", "a graph network, GCN2; gcn2:IN-WIDTHxLAYERS-OUT"),
        "hf": Entry(
            "huggingface:from_name", "any transformers model; hf:DIRECTORY-OR-CONFIG[:KEY=VALUE,…]"
        ),
        "published": Entry("as_published:from_name", "as others measured it; published:NAME"),
        "import": Entry("imported:from_path", "your own; import:package.module:factory"),
    },
)


def names() -> list[str]:
    """Return the names of all model families."""
    return MODELS.names()


def build(case: Case) -> Built:
    """Return the case's model and the maker of its batches.

    Raises:
        UnknownNameError: If no family has the name.
        ValueError: If the family cannot make what the case asks for.
    """
    name, _, argument = case.model.partition(":")
    return MODELS.get(name)(argument, case)


def check(case: Case) -> None:
    """Raise what `build` would raise, without memory and without calling a user's factory.

    Raises:
        ValueError: If the family cannot make what the case asks for.
    """
    from rmmbench.fakes.mode import fake_tensors

    name, _, argument = case.model.partition(":")
    if name == "import":
        import_module("rmmbench.models.imported").find_factory(argument)
        return
    with fake_tensors():
        build(case)
