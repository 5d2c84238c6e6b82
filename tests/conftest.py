"""Golden records, made without torch, and small configs of models that transformers builds."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from rmmbench.results.counts import Counts
from rmmbench.results.record import Environment, Memory, Record
from rmmbench.results.store import Run, RunInfo
from rmmbench.results.timing import Timing
from rmmbench.results.trained import Evaluation, LossPoint, Training
from rmmbench.spec.case import Case
from rmmbench.spec.profile import Profile
from rmmbench.units import GIB

ENVIRONMENT = Environment(
    rmmbench="0.1.0",
    python="3.11.7",
    torch="2.13.0+cpu",
    transformers="5.23.0",
    system="Linux",
    processor="Golden CPU",
    cpu_count=2,
    memory_bytes=24 * GIB,
    torch_threads=2,
    gpu=None,
    gpu_memory_bytes=None,
    cuda=None,
    driver=None,
    commit="0123abc",
    dirty=False,
    torch_flags={"backends.cudnn.benchmark": "False"},
    variables={"MALLOC_ARENA_MAX": "2"},
)

PROFILE = Profile.model_validate(
    {
        "version": 1,
        "title": "Golden",
        "device_limit": {"name": "V100", "memory": "16GiB"},
        "grid": [{"model": ["roberta-tiny"], "task": ["mrpc"], "rho": [0.5]}],
        "published": [
            {
                "model": "roberta-tiny",
                "task": "mrpc",
                "batch_size": 16,
                "peak_gib": 11.3,
                "source": "Table 3, left",
            },
            {
                "model": "roberta-tiny",
                "task": "mrpc",
                "batch_size": 16,
                "rho": 0.5,
                "sketch": "gaussian",
                "peak_gib": 10.6,
                "saved_percent": 6.3,
                "source": "Table 3, left",
            },
        ],
    }
)


@pytest.fixture(scope="session", autouse=True)
def printed_as_into_a_pipe() -> Iterator[None]:
    """Print as into a pipe, however wide the terminal is in which the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        yield


@pytest.fixture(autouse=True)
def own_modules_forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget the modules that a test wrote and imported, so that the next may use their names."""
    yield
    written = str(tmp_path_factory.getbasetemp())
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(written):
            del sys.modules[name]


@pytest.fixture
def without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no package of weights or data installed."""

    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("rmmbench.data._installed.distribution", missing)


@pytest.fixture
def make_record() -> Callable[..., Record]:
    """Build a record of a case that went well; keywords change the case or what came of it."""

    def make(
        *,
        peak: int | None = 10 * GIB,
        saved: int = 8 * GIB,
        reserved: int | None = None,
        counts: Counts | None = None,
        step_seconds: tuple[float, ...] = (),
        reference_step_seconds: tuple[float, ...] = (),
        outcome: str = "ok",
        environment: Environment = ENVIRONMENT,
        **settings: Any,
    ) -> Record:
        data = {"model": "roberta-tiny", "task": "mrpc", "batch_size": 16, "seq_len": 103}
        data |= {"memory_device": "predict" if peak else None}
        data |= {"time_device": "cpu" if step_seconds else None}
        case = Case.model_validate(data | settings)
        memory = timing = None
        if peak is not None and outcome == "ok" and case.memory_device is not None:
            memory = Memory(
                device=case.memory_device,
                peak_live_bytes=peak,
                peak_allocated_bytes=peak,
                cold_peak_allocated_bytes=peak,
                resting_bytes=GIB,
                saved_bytes=saved,
                reserved_bytes=reserved,
            )
        if step_seconds and outcome == "ok":
            median = sorted(step_seconds)[len(step_seconds) // 2]
            reference = sorted(reference_step_seconds or step_seconds)[len(step_seconds) // 2]
            timing = Timing(
                device="cpu",
                step_seconds=step_seconds,
                reference_step_seconds=reference_step_seconds,
                samples_per_second=case.batch_size / median,
                relative_throughput=reference / median,
            )
        return Record(
            key=case.key,
            case=case,
            outcome=outcome,
            reason=None if outcome == "ok" else "it was told to fail",
            environment=environment,
            memory=memory,
            timing=timing,
            counts=counts,
        )

    return make


@pytest.fixture
def make_trained(make_record: Callable[..., Record]) -> Callable[..., Record]:
    """Build the record of a training run; scores are those of its evaluations, a loss a step."""

    def make(
        *scores: float | None,
        outcome: str = "ok",
        losses: tuple[float, ...] = (2.0, 1.0),
        seconds: float = 10.0,
        metric: str = "accuracy",
        higher_is_better: bool = True,
        synthetic: str = "",
        **settings: Any,
    ) -> Record:
        settings = {"peak": None, "time_device": "cpu", "training": {}} | settings
        record = make_record(outcome=outcome, **settings)
        steps = 10 * len(losses)
        evaluations = [
            Evaluation(
                step=steps * (index + 1) // len(scores),
                loss=1.5 if score is None else 2.0 - score,
                scores={} if score is None else {metric: score},
            )
            for index, score in enumerate(scores)
        ]
        training = Training(
            device="cpu",
            metric=metric,
            higher_is_better=higher_is_better,
            steps=steps,
            epochs=float(len(scores)),
            train_samples=160,
            eval_samples=80,
            losses=[LossPoint(step=10 * (i + 1), loss=loss) for i, loss in enumerate(losses)],
            evaluations=evaluations,
            train_seconds=seconds,
            samples_per_second=16 * steps / seconds,
        )
        kept = training if outcome in ("ok", "diverged") else None
        return record.model_copy(update={"training": kept, "synthetic": synthetic})

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Write records into a run directory of their own."""

    def make(
        *records: Record,
        name: str = "run",
        profile: Profile = PROFILE,
        profile_hash: str = "golden",
        environment: Environment = ENVIRONMENT,
    ) -> Run:
        info = RunInfo(
            rmmbench="0.1.0",
            profile_name="golden",
            profile=profile,
            profile_hash=profile_hash,
            environment=environment,
            command="rmmbench sweep golden",
            started_at="2026-11-22T12:00:00+00:00",
        )
        run = Run.create(tmp_path / name, info)
        for record in records:
            run.append(record)
        return run

    return make


@pytest.fixture
def saved_storages() -> Callable[..., Any]:
    """Collect what autograd saves, by its own hooks: each storage once, a model's own left out."""
    from torch.autograd.graph import saved_tensors_hooks  # tests of golden records need no torch

    class Saved:
        def __init__(self, model: Any) -> None:
            state = [*model.parameters(), *model.buffers()]
            self._own = {tensor.untyped_storage()._cdata for tensor in state}
            self._by_storage: dict[int, Any] = {}

        def note(self, tensor: Any) -> Any:
            key = tensor.untyped_storage()._cdata
            if key not in self._own:
                self._by_storage.setdefault(key, tensor)
            return tensor

        def total_bytes(self) -> int:
            return sum(one.untyped_storage().nbytes() for one in self._by_storage.values())

    @contextmanager
    def collect(model: Any) -> Iterator[Saved]:
        saved = Saved(model)
        with saved_tensors_hooks(saved.note, lambda tensor: tensor):
            yield saved

    return collect


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: many small products gain nothing from two, which wait for each other.

    Where cores are busy they lose by it.
    """
    import torch  # here, as tests of golden records need none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def gradients_of() -> Callable[..., Any]:
    """Return the weight gradient of as many calls of a layer, stacked; `run` calls it."""
    import torch  # here, as tests of golden records need none

    def drawn(layer: Any, x: Any, y: Any, draws: int, run: Any = None) -> Any:
        run, found = layer if run is None else run, []
        for _ in range(draws):
            layer.weight.grad = None
            run(x).backward(y)
            found.append(layer.weight.grad)
        return torch.stack(found)

    return drawn


_WIDTHS = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 128}
_SMALL_CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 1, "n_embd": 64, "n_head": 2, "vocab_size": 500, "n_positions": 64},
    "llama": _WIDTHS | {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 500},
    "bert": _WIDTHS | {"num_attention_heads": 4, "vocab_size": 500},
    "t5": {"num_layers": 1, "d_model": 64, "d_ff": 128, "num_heads": 4, "d_kv": 16}
    | {"vocab_size": 500},
    "mixtral": _WIDTHS
    | {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 500}
    | {"num_local_experts": 4},
    "deberta-v2": _WIDTHS | {"num_attention_heads": 4, "vocab_size": 500},
    "xlnet": {"d_model": 64, "n_layer": 1, "n_head": 4, "d_inner": 128, "vocab_size": 500},
    "whisper": {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 500}
    | {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 128}
    | {"decoder_ffn_dim": 128, "num_mel_bins": 8, "max_source_positions": 16}
    | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1},
    "wav2vec2": _WIDTHS
    | {"num_attention_heads": 4, "conv_dim": [16], "conv_kernel": [3], "conv_stride": [2]}
    | {"num_feat_extract_layers": 1, "num_conv_pos_embeddings": 8, "mask_time_prob": 0.0}
    | {"num_conv_pos_embedding_groups": 2, "layerdrop": 0.0},
    "vit": _WIDTHS | {"num_attention_heads": 4, "image_size": 32, "patch_size": 8},
}


@pytest.fixture
def small_hf(tmp_path: Path) -> Callable[..., str]:
    """Write the config of a small model, with changes, and return the model's name for a case."""

    def written(kind: str, **changes: Any) -> str:
        folder = tmp_path / f"small-{kind}"
        folder.mkdir(exist_ok=True)
        config = {"model_type": kind} | _SMALL_CONFIGS.get(kind, {}) | changes
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return f"hf:{folder}"

    return written


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """Return the first true value of a condition, asked again and again."""

    def waited(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"this did not come true in {seconds} s")

    return waited
