"""Plans of a small model: what was planned is what is predicted, and what cannot be is told."""

import pytest

import rmmbench
from rmmbench.errors import UsageError
from rmmbench.running.isolation import process
from rmmbench.running.one_case import case_of
from rmmbench.running.planning.noise_terms import RuleOfThumb
from rmmbench.running.planning.plans import Plans, Sought
from rmmbench.running.planning.survey import survey
from rmmbench.spec.case import Case
from rmmbench.spec.saving_plan import SavingPlan

SHAPE = {"batch_size": 64, "seq_len": 64, "quiet": True}


@pytest.fixture(scope="module")
def plans():
    """Return the plans that save a fifth of a tiny RoBERTa's memory."""
    return rmmbench.plan("roberta-tiny", save="20%", **SHAPE)


def test_what_is_planned_is_what_is_predicted(plans):
    """Each plan fits, and a prediction of it by itself has the very same number."""
    assert plans.found
    for found in plans.found:
        assert found.predicted.peak_bytes <= plans.limit_bytes
        alone = rmmbench.predict(
            "roberta-tiny", batch_size=64, seq_len=64, method="plan", plan=found.plan
        )
        assert alone.needed_bytes == found.predicted.peak_bytes


def test_plans_over_ranks_are_held_to_what_a_rank_takes():
    """Over ranks the limit is each rank's, of shards and gathered blocks; the plan says for whom.

    A block whose last operator has weights is one of roberta's; FSDP lets go of them.
    """
    over = {"ranks": 2, "parallel": "fsdp2", "dtype": "bfloat16"}
    plans = rmmbench.plan("roberta-tiny", save="15%", **SHAPE, **over)
    assert plans.found
    for found in plans.found:
        plan, peak = found.plan, found.predicted.peak_bytes
        assert (plan.ranks, plan.parallel) == (2, "fsdp2")
        assert peak <= plans.limit_bytes == int(0.85 * plans.exact.needed_bytes)
        alone = rmmbench.predict(
            "roberta-tiny", batch_size=64, seq_len=64, method="plan", plan=plan, **over
        )
        assert alone.needed_bytes == peak
    alone = rmmbench.predict("roberta-tiny", batch_size=64, seq_len=64, dtype="bfloat16")
    assert plans.exact.resting_bytes < 0.6 * alone.resting_bytes
    assert plans.time_by.endswith("without what GPUs send one another")


def test_what_a_rank_keeps_is_surveyed():
    """Blocks keep what ranks keep, which gather parameters in bfloat16: autocast's copies are none.

    A block of autocast would keep more than twice as much.
    """
    over = {"ranks": 4, "parallel": "fsdp2", "dtype": "bfloat16", "attention": "sdpa"}
    sizes = ("decoder:3x256", None, 2, 48)
    case = case_of(*sizes, over | {"memory_device": "predict"})
    found = process.call(survey, case, "oporp")
    shape = {"batch_size": 2, "seq_len": 48, **over}
    exact, again = (
        rmmbench.predict("decoder:3x256", method=method, **shape)
        for method in ("exact", "checkpoint")
    )
    kept = sum(block.kept_bytes - block.output_bytes for block in found.blocks)
    assert kept == pytest.approx(exact.saved_bytes - again.saved_bytes, rel=0.05)
    gradients = sum(block.gradient_bytes for block in found.blocks)
    alone = process.call(survey, case.alone(), "oporp")
    assert 4 * gradients == pytest.approx(sum(block.gradient_bytes for block in alone.blocks))


def test_each_plan_is_what_it_is_called(plans):
    """The exact one has no noise; the best has the most throughput for its noise."""
    named = {name: found for found in plans.found for name in found.names}
    assert named["exact gradients"].plan.is_exact
    assert named["exact gradients"].predicted.noise == 0
    assert plans.best.worth == max(found.worth for found in plans.found)
    assert all(found.plan.shape_of() for found in plans.found)


def test_a_saved_plan_converts_the_model(plans, tmp_path):
    """What is written can be used at once, and is refused by another model."""
    from rmmbench import models
    from rmmbench.errors import PlanError

    path = tmp_path / "plan.toml"
    plans.best.save(path)
    model = models.build(plans.case).model
    rmmbench.convert(model, plan=path)
    other = models.build(plans.case.model_copy(update={"model": "mlp:8-8-8"})).model
    with pytest.raises(PlanError, match="linear layers differ"):
        rmmbench.convert(other, plan=path)


def test_a_limit_out_of_reach_tells_the_least():
    """The least that a plan reaches is named, with what."""
    with pytest.raises(UsageError, match=r"must be at least \d+\.\d MiB .* reached with"):
        rmmbench.plan("roberta-tiny", memory="20MiB", **SHAPE)


def test_a_least_that_is_the_unchanged_models_is_told_as_such():
    """Where no choice saves anything, the least is said to be the unchanged model's."""
    with pytest.raises(
        UsageError, match=r"got 1\.0 KiB; that least is the unchanged model's; 2\.8"
    ):
        rmmbench.plan("linear:8x8", memory="1KiB", quiet=True)


def test_what_fits_needs_no_plan():
    """With memory enough there is nothing to plan."""
    plans = rmmbench.plan("roberta-tiny", memory="1GiB", **SHAPE)
    assert plans.found == ()
    assert plans.best is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "a plan must have a limit"),
        ({"memory": "1GiB", "save": "10%"}, "memory and save say the same"),
        ({"memory": "much"}, "a memory size must be"),
        ({"save": "120%"}, "must be from 0 to below 100 %"),
        ({"save": "10%", "max_inflation": 0.5}, "max_inflation must be at least 1"),
        ({"min_throughput": 0}, "min_throughput must be above 0"),
        ({"save": "10%", "rho": 0.5}, "a plan is of the unchanged model"),
        ({"save": "10%", "sketch": "oprop"}, "did you mean 'oporp'"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, told):
    """A wrong limit is told in a line before anything runs."""
    with pytest.raises((UsageError, ValueError), match=told):
        rmmbench.plan("roberta-tiny", quiet=True, **given)


def test_the_rule_of_thumb():
    """Without a file noise is (1 − ρ)/ρ, and rounding's, each layer alike."""
    noise = RuleOfThumb(4)
    assert noise.of("any", 0.5, None) == pytest.approx(0.25)
    assert noise.of("any", 1.0, 4) == pytest.approx(0.022 / 4)
    assert noise.of("any", 0.5, 4) > noise.of("any", 0.5, 8) > noise.of("any", 0.5, None)


def test_plans_are_measured_beside_one_setting_for_all():
    """What is planned to be noisier is, within a factor; the unchanged model is timed beside it."""
    from rmmbench.running.planning.verification import verify_plans

    plans = rmmbench.plan("mlp:256-512-512-512-10", save="12%", batch_size=4096, quiet=True)
    assert plans.uniform is not None
    named = {name: found for found in plans.found for name in found.names}
    assert named["least noise"].predicted.noise <= plans.uniform.predicted.noise
    for one in verify_plans(plans, draws=2):
        assert one.relative_throughput > 0
        assert (
            one.noise == pytest.approx(0, abs=1e-9) or 0.02 < one.noise / one.predicted_noise < 50
        )


@pytest.mark.parametrize(
    ("spread", "samples", "timed"),
    [
        ({}, 4, 0),
        ({"ranks": 3, "parallel": "fsdp2", "reshard": False}, 12, 1),
        ({"accumulate": 5}, 20, 1),
    ],
)
def test_noise_is_verified_over_the_samples_of_all(monkeypatch, spread, samples, timed):
    """Noise is planned over all samples of a step, and so measured; steps are timed as they are."""
    from rmmbench.running.planning import verification

    def measured(model, ways, **others):
        asked.extend(ways)
        raise KeyboardInterrupt

    asked = []
    monkeypatch.setattr(verification, "measure_ways", measured)
    line = Sought(("fastest",), "", SavingPlan(model="mlp"))
    case = Case(model="mlp", batch_size=4, **spread)
    with pytest.raises(KeyboardInterrupt):
        verification.verify_plans(Plans(case, None, None, "", "", found=(line,)), draws=2)
    compared, *others = asked
    assert (compared["batch_size"], compared["gradient_draws"]) == (samples, 2)
    assert not compared.keys() & {"ranks", "accumulate"}
    assert len(others) == timed
    for way in others:
        assert spread.items() <= way.items()
        assert "gradient_draws" not in way
