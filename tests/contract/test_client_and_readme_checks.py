"""The checks of the client's table and of the README see the faults they are for."""

import pytest
from contract import client_checks, readme_checks
from contract.example import FILES, README, write
from contract.repositories import read_all

from tritone_client.calls.models import Model, Tensor


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model("eye", (), ()), "'eye', which does not exist"),
        (
            Model("mouth", (Tensor("text", "BYTES"),), (Tensor("speech", "FP32", (-1,)),), decoupled=True),
            "decoupled is True",
        ),
        (Model("mouth", (Tensor("words", "BYTES"),), (Tensor("speech", "FP32", (-1,)),)), "input 'words' is Tensor"),
        (Model("mouth", (), (Tensor("speech", "FP32", (-1,)),)), "input 'text' is None in the client"),
        (
            Model("mouth", (Tensor("text", "BYTES", optional=True),), (Tensor("speech", "FP32", (-1,)),)),
            "optional=True",
        ),
        (Model("mouth", (Tensor("text", "BYTES"),), (Tensor("speech", "FP16", (-1,)),)), "FP16"),
        (Model("mouth", (Tensor("text", "BYTES"),), (Tensor("speech", "FP32"),)), "dims=(1,)"),
    ],
)
def test_a_wrong_belief_of_the_client_is_seen(repositories, model, words):
    faults = list(client_checks.client_faults(model, read_all(repositories)))
    assert any(words in fault for fault in faults), faults


def test_a_right_belief_of_the_client_is_no_fault(repositories):
    right = Model("mouth", (Tensor("text", "BYTES"),), (Tensor("speech", "FP32", (-1,)),))
    assert list(client_checks.client_faults(right, read_all(repositories))) == []


def test_the_readmes_tree_and_table_are_read_as_people_read_them(tmp_path):
    write(tmp_path, FILES)
    assert readme_checks.tree_paths(README) == [
        "model_repository/",
        "model_repository/ear/1/model.py",
        "model_repository/mouth/",
        "model_repository/mouth/config.pbtxt",
        "ensembles/parrot/",
    ]
    assert readme_checks.table_models(README) == ["ear", "mouth", "parrot"]
    assert list(readme_checks.tree_faults(README, tmp_path, {"model_repository", "ensembles", ".gitignore"})) == []
    assert list(readme_checks.table_faults(README, {"ear", "mouth", "parrot"})) == []


@pytest.mark.parametrize(
    ("readme", "fault"),
    [
        (
            README.replace("ear/1/model.py", "ear/2/model.py"),
            "the README's tree has model_repository/ear/2/model.py, the disk has not",
        ),
        (
            README.replace("ensembles/parrot/ ", "ensembles/parrot "),
            "the README's tree has ensembles/parrot, the disk has not",
        ),
        (README.replace("ensembles/parrot/", "model_repository/"), "ensembles is not in the README's tree"),
        (README.replace("| `ear` ", "| ear "), "model ear is not in the README's table"),
        (
            README.replace("`mouth`, ", "`mouth`, `beak`, "),
            "the README's table has model beak, the repositories have not",
        ),
        (README.replace("`mouth`, ", "`mouth`, `ear`, "), "model ear stands more than once in the README's table"),
    ],
)
def test_a_wrong_readme_is_seen(tmp_path, readme, fault):
    write(tmp_path, FILES)
    assert readme != README
    tree = readme_checks.tree_faults(readme, tmp_path, {"model_repository", "ensembles"})
    assert fault in [*tree, *readme_checks.table_faults(readme, {"ear", "mouth", "parrot"})]


@pytest.mark.parametrize("readme", ["# Birds\n", README.replace("## The tree", "## Tree"), README.replace("```", "")])
def test_a_readme_without_a_tree_is_an_error(readme):
    with pytest.raises(ValueError, match="The tree"):
        readme_checks.tree_paths(readme)


def test_a_promise_whose_test_is_gone_is_seen(tmp_path):
    (tmp_path / "unit/room").mkdir(parents=True)
    source = "def test_here(): ...\n\nclass Test:\n    def test_inside(self): ...\n"
    (tmp_path / "unit/room/test_one.py").write_text(source)
    text = "`unit/test_one.py::test_here`, `…::test_inside`, `…::test_gone`, `unit/test_none.py`, `docs/one.py`"
    assert list(readme_checks.promise_faults(text, tmp_path)) == [
        "unit/test_one.py has no test_gone",
        "unit/test_none.py does not exist",
    ]
