"""A model changed by a saving plan: its own plan, and no other model's."""

import pytest
import torch
from torch import nn

import rmmbench
from rmmbench.errors import PlanError
from rmmbench.nn import converted_layers
from rmmbench.nn.blocks import named_blocks
from rmmbench.nn.candidates import linear_layers
from rmmbench.nn.planned import shapes_of, unplanned
from rmmbench.spec.saving_plan import LayerChoice, SavingPlan


class Block(nn.Module):
    """Two linear layers, and a sum."""

    def __init__(self):
        """Make both."""
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x):
        """Return x and what the layers make of it."""
        return x + self.down(torch.tanh(self.up(x)))


def model():
    """Return three blocks and a head."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Sequential(*(Block() for _ in range(3))), nn.Linear(8, 2))


def plan(**changes):
    """Return a plan of that model."""
    told = {
        "model": "blocks",
        "checkpoint": ("0.0",),
        "layers": (LayerChoice(names=("0.1-2.up",), rho=0.5),),
        "shapes": shapes_of(linear_layers(model())),
    }
    return SavingPlan.model_validate(told | changes)


def test_layers_and_blocks_change_as_planned(tmp_path):
    """The named layers are sketched, the named block is computed again; a path works too."""
    path = tmp_path / "plan.toml"
    path.write_text(plan().toml())
    for given in (plan(), path, str(path)):
        changed = rmmbench.convert(model(), plan=given)
        found = {name: layer.settings for name, layer in converted_layers(changed).items()}
        assert set(found) == {"0.1.up", "0.2.up"}
        assert {(each.sketch, each.rho) for each in found.values()} == {("oporp", 0.5)}
        switched = [vars(b).get("gradient_checkpointing") for b in named_blocks(changed).values()]
        assert switched == [True, None, None]


def test_gradients_without_layers_are_exact():
    """A plan of blocks alone changes no gradient, and unplanned none of any plan."""
    x = torch.randn(64, 8)

    def gradients(changed):
        changed.zero_grad()
        changed(x).square().sum().backward()
        return [parameter.grad.clone() for parameter in changed.parameters()]

    exact = gradients(model())
    for again, true in zip(
        gradients(rmmbench.convert(model(), plan=plan(layers=()))), exact, strict=True
    ):
        torch.testing.assert_close(again, true)
    changed = rmmbench.convert(model(), plan=plan())
    with unplanned(changed):
        for again, true in zip(gradients(changed), exact, strict=True):
            torch.testing.assert_close(again, true)
    assert any(
        not torch.allclose(a, b, rtol=1e-3) for a, b in zip(gradients(changed), exact, strict=True)
    )


def test_unconvert_undoes_a_plan():
    """Layers are linear again, and no block is computed again."""
    changed = rmmbench.unconvert(rmmbench.convert(model(), plan=plan()))
    assert not converted_layers(changed)
    assert not any(getattr(m, "gradient_checkpointing", False) for m in changed.modules())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"shapes": {"0.0.up": "16x8", "head": "2x8"}}, "'0.0.down' is missing in the plan"),
        ({"layers": (LayerChoice(names=("0.1.upp",), rho=0.5),)}, "did you mean '0.1.up'?"),
        ({"layers": (LayerChoice(names=("*.query",), rho=0.5),)}, r"'\*.query'"),
        ({"checkpoint": ("0.7",)}, "no such block"),
        (
            {
                "layers": (
                    LayerChoice(names=("0.1.up",), rho=0.5),
                    LayerChoice(names=("*.up",), rho=0.2),
                )
            },
            "a layer must be named once",
        ),
    ],
)
def test_another_models_plan_is_refused(changes, told):
    """What differs is named, and the model stays as it was."""
    unchanged = model()
    with pytest.raises(PlanError, match=told):
        rmmbench.convert(unchanged, plan=plan(**changes))
    assert not converted_layers(unchanged)
    assert not any(hasattr(m, "gradient_checkpointing") for m in unchanged.modules())


def test_a_plan_says_it_all():
    """A setting beside a plan is refused."""
    with pytest.raises(ValueError, match="rho must not be given beside plan"):
        rmmbench.convert(model(), plan=plan(), rho=0.5)
