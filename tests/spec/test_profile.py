"""A profile is strict, and becomes every case once."""

import os

import pytest

from rmmbench.errors import Exit, ProfileError, UnknownNameError, UsageError
from rmmbench.spec import profile
from rmmbench.spec.profile import Profile

HEAD = 'version = 1\ntitle = "A question"\n'
GRID = '[[grid]]\nmodel = ["mlp"]\nbatch_size = [4]\n'


@pytest.fixture
def write(tmp_path):
    """Write a profile and return its path."""

    def written(text):
        path = tmp_path / "question.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def grid(**axes):
    """Return a profile of one grid."""
    axes = {"model": ["mlp"], "batch_size": [4]} | axes
    return Profile.model_validate({"version": 1, "title": "A question", "grid": [axes]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + GRID + "rho = [0]", "rho in [grid] must be in (0, 1], got 0"),
        (HEAD + GRID + "rho = [1.5]", "rho in [grid] must be in (0, 1], got 1.5"),
        (HEAD + GRID + "rho = [nan]", "rho in [grid] must be a finite number, got nan"),
        (HEAD + GRID + 'rho = ["half"]', "rho in [grid] must be a valid number, got 'half'"),
        (HEAD + GRID + "rho = 0.5", "rho in [grid] must be an array, got 0.5"),
        (HEAD + GRID + "seq_len = [0]", "seq_len in [grid] must be at least 1, got 0"),
        (HEAD + GRID + "min_proj_dim = 0", "min_proj_dim in [grid] must be at least 1, got 0"),
        (HEAD + GRID + "block_rows = 0", "block_rows in [grid] must be at least 1, got 0"),
        (
            HEAD + GRID + 'where = "some"',
            "where in [grid] must be 'all' or 'beneficial', got 'some'",
        ),
        (HEAD + GRID + "share = 2", "share in [grid] must be a valid boolean, got 2"),
        (HEAD + GRID + "measure = []", "measure in [grid] must have at least one value, got []"),
        (
            HEAD + '[[grid]]\nmodel = ["mlp"]\nbatch_size = [0]',
            "batch_size in [grid] must be at least 1, got 0",
        ),
        (HEAD + '[[grid]]\nmodel = [""]', "model in [grid] must not be empty, got ''"),
        (HEAD + "[[grid]]\nbatch_size = [4]", "key 'model' in [grid] must be given"),
        (HEAD, "key 'grid' must be given"),
        ('title = "A question"\n' + GRID, "key 'version' must be given"),
        ('version = 2\ntitle = ""\n' + GRID, "version must be 1, got 2"),
        (
            HEAD + 'device = "gpu"\n' + GRID,
            "device must be 'auto', 'cuda', 'cpu' or 'predict', got 'gpu'",
        ),
        (
            HEAD + GRID + '[device_limit]\nname = "V100"\nmemory = "lots"',
            "memory in [device_limit]: a memory size must be a number and a unit, "
            "such as '16GiB', got 'lots'",
        ),
        (
            HEAD + GRID + "[timing]\nmin_steps = 9\nmax_steps = 3",
            "timing: max_steps must be at least min_steps (9), got 3",
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_file_and_key(write, text, message):
    """The error says where, what must hold and what was given."""
    path = write(text)
    with pytest.raises(ProfileError) as caught:
        profile.load(str(path))
    assert str(caught.value) == f"{path}: {message}"
    assert caught.value.exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("text", "key", "where", "nearest"),
    [
        (HEAD + 'devise = "cpu"\n' + GRID, "devise", "", "device"),
        (HEAD + GRID + "[timing]\nwarm_up = 2", "warm_up", " in [timing]", "warmup_steps"),
        (HEAD + GRID + 'sketchs = ["dct"]', "sketchs", " in [grid]", "sketch"),
        (
            HEAD + GRID + '[[published]]\ntask = "cola"\nsource = ""\npeak_gb = 1',
            "peak_gb",
            " in [published]",
            "peak_gib",
        ),
    ],
)
def test_an_unknown_key_is_told_with_its_file_and_the_nearest(write, text, key, where, nearest):
    """A slip in a key is never passed over: file, key, section and the nearest right one."""
    path = write(text)
    with pytest.raises(ProfileError) as caught:
        profile.load(str(path))
    start = f"{path}: unknown key '{key}'{where}; did you mean '{nearest}'?; keys are: "
    assert str(caught.value).startswith(start)


def test_an_unknown_task_is_told_with_the_nearest(write):
    """A task that GLUE does not have is named, with what it may have meant."""
    with pytest.raises(ProfileError, match="no task named 'mrcp'; did you mean 'mrpc'"):
        profile.load(str(write(HEAD + GRID + 'task = ["mrcp"]')))


@pytest.mark.parametrize("text", ["grid = [", "not toml", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(write, text):
    """A file of another kind is refused as one."""
    path = write(text)
    with pytest.raises(ProfileError, match=r"question\.toml: a profile must be TOML: "):
        profile.load(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path):
    """A path that leads nowhere is told with the system's reason."""
    with pytest.raises(ProfileError, match=r"none\.toml: cannot be read: No such file"):
        profile.load(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "[" * 100_000 + "]" * 100_000,
        "version = 1" + "0" * 10_000,
        "a = '\ud800'",
        "\x00",
        "title = 1979-05-27",
    ],
    ids=range(6),
)
def test_what_no_profile_says_is_told_in_a_line(tmp_path, text):
    """Neither depth, nor size, nor bytes that are no text make more than a line."""
    path = tmp_path / "odd.toml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ProfileError) as caught:
        profile.load(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_profile(tmp_path):
    """Nothing waits for what may never be written."""
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(ProfileError, match="must be a file, got a pipe"):
        profile.load(str(tmp_path / "pipe.toml"))


def test_a_directory_is_no_profile(tmp_path):
    """A directory that is named as a profile is told as what it is."""
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ProfileError, match="cannot be read: Is a directory"):
        profile.load(str(tmp_path / "folder.toml"))


def test_an_unknown_name_is_told_with_the_nearest(monkeypatch, tmp_path):
    """What does not end in .toml is the name of a profile that comes with rmmbench."""
    (tmp_path / "figure2.toml").write_text(HEAD + GRID)
    monkeypatch.setattr(profile, "_FOLDERS", (tmp_path,))
    assert profile.load("figure2").title == "A question"
    with pytest.raises(UnknownNameError) as caught:
        profile.load("figure3")
    expected = "no profile named 'figure3'; did you mean 'figure2'?; choose from: figure2"
    assert str(caught.value) == expected


@pytest.mark.parametrize("name", profile.names())
def test_every_profile_that_ships_makes_cases(name):
    """The profiles of the package are right themselves."""
    assert profile.load(name).cases("predict", "cpu")


def test_exact_comes_first_in_each_cell():
    """Before any method is measured in a cell the unchanged model is, and once only."""
    cases = grid(batch_size=[4, 8], rho=[0.5, 0.1], sketch=["dct", "dft"]).cases("predict", None)
    seen = {}
    for case in cases:
        seen.setdefault(case.cell, []).append(case)
    assert len(seen) == 2
    for cell in seen.values():
        assert [case.method for case in cell] == ["exact"] + ["rmm"] * 4
        assert cell[0] == cell[1].as_exact()


def test_a_grid_is_every_combination():
    """All sketches at all rates and sizes are measured, in every batch shape."""
    cases = grid(
        model=["mlp", "linear"],
        seq_len=[1, 2, 3],
        sketch=["dct", "dft"],
        rho=[0.5, 0.1],
        proj_dim=[8],
    ).cases("predict", None)
    assert len(cases) == 2 * 3 * (1 + 2 * (2 + 1))


def test_no_case_comes_twice():
    """Grids that overlap, and values that repeat, make each case once."""
    axes = {"model": ["mlp"], "batch_size": [4, 4], "rho": [0.5, 0.5], "method": ["exact", "rmm"]}
    data = {"version": 1, "title": "", "grid": [axes, axes]}
    cases = Profile.model_validate(data).cases("predict", "cpu")
    assert [case.label for case in cases] == ["exact", "gaussian ρ=0.5"]
    assert len({case.key for case in cases}) == len(cases)


def test_a_method_without_settings_is_one_case():
    """Sketches and rates multiply the method rmm only."""
    cases = grid(method=["rmm", "checkpoint"], rho=[0.5, 0.1]).cases("predict", None)
    assert [case.method for case in cases] == ["exact", "rmm", "rmm", "checkpoint"]
    assert cases[-1].settings["rho"] is None


def test_a_task_fills_the_shape_that_is_not_given():
    """A task has a batch size and a length, which the grid's own go before."""
    tokens = {"model": ["roberta-tiny"], "task": ["mrpc"], "method": ["exact"]}
    (case,) = grid(**tokens, batch_size=[]).cases("predict", None)
    assert (case.batch_size, case.seq_len) == (16, 103)
    (case,) = grid(**tokens, batch_size=[128], seq_len=[98]).cases("predict", None)
    assert (case.batch_size, case.seq_len) == (128, 98)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"batch_size": []}, "a grid must give batch_size, or a task that has one"),
        (
            {"rho": [0.5], "min_proj_dim": 8, "max_proj_dim": 4},
            "max_proj_dim must be at least min_proj_dim (8), got 4",
        ),
    ],
)
def test_a_combination_that_makes_no_case_is_told(axes, message):
    """What only shows when axes meet is told like a wrong value."""
    with pytest.raises(UsageError) as caught:
        grid(**axes).cases("predict", None)
    assert str(caught.value) == message


@pytest.mark.parametrize("axes", [{}, {"method": ["exact", "rmm"]}])
def test_a_sketch_must_have_a_size(axes):
    """A grid of sketches must give rho or proj_dim, unless a flag gives it or asks for exact."""
    unsized = grid(**axes)
    with pytest.raises(ProfileError) as caught:
        unsized.cases("predict", None)
    expected = "a grid with method 'rmm' must give rho or proj_dim; or give --rho"
    assert str(caught.value) == expected
    labels = {
        flag: [case.label for case in unsized.overridden({flag: values}).cases("predict", None)]
        for flag, values in {"rho": (0.5,), "method": ("exact",)}.items()
    }
    assert labels == {"rho": ["exact", "gaussian ρ=0.5"], "method": ["exact"]}


@pytest.mark.parametrize("name", profile.names())
def test_exact_alone_can_be_asked_for(name):
    """Every profile that ships can be measured without any method."""
    cases = profile.load(name).overridden({"method": ("exact",)}).cases("predict", "cpu")
    assert {case.method for case in cases} == {"exact"}


@pytest.mark.parametrize(
    ("measure", "devices"),
    [
        (["memory", "time"], [("predict", "cpu")]),
        (["memory"], [("predict", None)]),
        (["time"], [(None, "cpu")]),
    ],
)
def test_only_what_is_asked_for_is_measured(measure, devices):
    """A grid that measures memory alone makes cases without a device for time."""
    cases = grid(method=["exact"], measure=measure).cases("predict", "cpu")
    assert [(case.memory_device, case.time_device) for case in cases] == devices


def test_a_grid_with_nothing_left_to_measure_makes_no_case():
    """A grid of times has no cases where time is left out."""
    assert grid(measure=["time"]).cases("predict", None) == []


def test_choices_are_of_a_whole_grid():
    """Which layers, whether they share, and blocks of rows hold for every sketch of a grid."""
    choices = {"where": "beneficial", "share": False, "block_rows": 2}
    cases = grid(rho=[0.5], sketch=["gaussian", "kronecker"], **choices).cases("predict", None)
    assert [case.label for case in cases] == [
        "exact",
        "gaussian, blocks of 2, beneficial layers, unshared ρ=0.5",
        "kronecker, blocks of 2, beneficial layers, unshared ρ=0.5",
    ]


@pytest.mark.parametrize("name", ["figure2", "table3-memory", "table3-matmul"])
def test_the_papers_profiles_are_of_its_own_choice(name):
    """Every linear layer is sketched, and Q, K and V each for themselves."""
    cases = profile.load(name).cases("predict", "cpu")
    sketched = [case.settings for case in cases if case.method == "rmm"]
    chosen = {(said["where"], said["share"], said["block_rows"]) for said in sketched}
    assert chosen == {("all", False, None)}


def test_table3_is_measured_by_both_choices():
    """Each of the nine cells of Table 3 is there by the paper's own choice and by ours."""
    cases = [case for case in profile.load("table3-fast").cases("predict", None) if case.steps]
    papers = [case for case in cases if not case.settings["share"]]
    ours = [case for case in cases if case.settings["share"]]
    for half, how in ((papers, ("gaussian", "all")), (ours, ("oporp", "beneficial"))):
        assert {(case.settings["sketch"], case.settings["where"]) for case in half} == {how}
    for half in (papers, ours):
        cells = [(case.task, case.batch_size, case.seq_len, case.settings["rho"]) for case in half]
        assert len(cells) == len(set(cells)) == 9
    assert {case.cell for case in papers} == {case.cell for case in ours}
    expected = profile.load("table3-memory")
    assert profile.load("table3-fast").published == expected.published
    assert {case.key for case in papers} <= {c.key for c in expected.cases("predict", None)}


def test_figure2_is_measured_by_our_choice():
    """The faster Figure 2 has the paper's cells, with fewer ρ where steps are timed."""
    fast, papers = (
        profile.load(name).cases("predict", "cpu") for name in ("figure2-fast", "figure2")
    )
    assert {case.cell for case in fast} == {case.cell for case in papers}
    sketched = [case.settings for case in fast if case.steps]
    chosen = {(said["sketch"], said["bits"], said["where"], said["share"]) for said in sketched}
    assert chosen == {("oporp", 4, "beneficial", True)}
    rates = {case.settings["rho"] for case in fast if case.time_device}
    assert rates == {None, 0.1, 0.3, 0.5, 0.7, 0.9}
