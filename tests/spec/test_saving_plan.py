"""A plan's file: what is written is read back, and what is wrong is told in one line."""

import pytest

from rmmbench.errors import PlanError
from rmmbench.spec.case import Case
from rmmbench.spec.saving_plan import LayerChoice, Predicted, SavingPlan, read_plan

PLAN = SavingPlan(
    title="least noise",
    model="roberta-tiny",
    batch_size=8,
    seq_len=64,
    checkpoint=("roberta.encoder.layer.0",),
    layers=(LayerChoice(names=("*.layer.1.output.dense",), rho=0.5),),
    shapes={"roberta.encoder.layer.0-1.output.dense": "64x128"},
    predicted=Predicted(
        peak_bytes=5,
        exact_peak_bytes=9,
        noise=0.25,
        noise_by='the "closed" form',
        relative_throughput=0.9,
        time_by="counted work",
    ),
)


def test_a_plan_is_read_as_it_was_written(tmp_path):
    """All that a plan says survives its file."""
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.toml())
    assert read_plan(path) == PLAN
    assert PLAN.shape_of() == {f"roberta.encoder.layer.{i}.output.dense": "64x128" for i in (0, 1)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version = 1", "key 'model' must be given"),
        ('model = "x"\nlayer = 1', "unknown key 'layer'; did you mean 'layers'?"),
        ('model = "x"\n[[layers]]\nnames = ["a"]\nroh = 0.5', "'roh' in [layers]; did you mean"),
        ('model = "x"\n[[layers]]\nnames = ["a"]', "must have rho below 1, or bits"),
        ('model = "x"\n[[layers]]\nnames = ["a"]\nrho = 2.0', "rho in [layers] must be in (0, 1]"),
        ('model = "x"\n[[layers]]\nnames = ["a"]\nbits = 3', "must be 2, 4 or 8"),
        ('model = "x"\ncheckpoint = ["h.3-1"]', "must have ranges from low to high"),
        ('version = 2\nmodel = "x"', "version must be 1"),
        ("model = ", "a plan must be TOML"),
    ],
)
def test_a_wrong_plan_is_refused_in_one_line(tmp_path, text, told):
    """The message names the file, the key and what is wrong."""
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    """A path without a file is no traceback."""
    with pytest.raises(PlanError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")


def test_the_content_of_a_plan_is_in_the_key(tmp_path):
    """A case has the plan and not its path: another content is another case."""
    path = tmp_path / "plan.toml"
    keys = []
    for plan in (PLAN, PLAN.model_copy(update={"checkpoint": ()})):
        path.write_text(plan.toml())
        case = Case.model_validate(
            {"model": "roberta-tiny", "batch_size": 8, "method": "plan", "plan": str(path)}
        )
        keys.append(case.key)
        assert Case.model_validate_json(case.model_dump_json()) == case
        assert case.flat()["plan"] == str(plan)
    assert keys[0] != keys[1]
