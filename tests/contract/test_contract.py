"""The project's own configs, client and README tell one story. Other tests here show that each check can fail."""

import re
import subprocess

import pytest
from contract import client_checks, config_checks, readme_checks, wiring_checks
from contract.repositories import REPOSITORIES, ROOT, Served, model_folders, read, read_all, repeated_names

from tritone_client.calls.models import MODELS

FOLDERS = model_folders()
FOLDER_CHECKS = (
    config_checks.layout_faults,
    config_checks.kind_faults,
    config_checks.variant_faults,
    config_checks.queue_faults,
    config_checks.tensor_faults,
)


@pytest.fixture(scope="session")
def models() -> dict[str, Served]:
    return read_all()


@pytest.fixture(scope="session")
def readme() -> str:
    return (ROOT / "README.md").read_text("utf-8")


def test_both_repositories_have_models(models):
    for repository in REPOSITORIES:
        assert any(served.folder.parent == repository for served in models.values()), f"{repository.name} is empty"
    assert any(served.is_ensemble for served in models.values())
    assert any(served.variants for served in models.values())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("check", FOLDER_CHECKS, ids=lambda check: check.__name__)
def test_a_model_folder_is_as_it_should_be(folder, check):
    assert list(check(read(folder))) == []


def test_the_repositories_hold_what_their_names_say(models):
    assert all(served.is_ensemble == (served.folder.parent.name == "ensembles") for served in models.values())


def test_no_name_stands_in_both_repositories():
    assert repeated_names(REPOSITORIES) == []


def test_a_tensor_name_has_one_data_type_everywhere(models):
    assert list(config_checks.vocabulary_faults(models.values())) == []


def test_models_that_are_called_exist(models):
    assert any("calls" in served.config.parameters for served in models.values())
    assert [fault for served in models.values() for fault in config_checks.call_faults(served, models)] == []


@pytest.mark.parametrize(("setting", "network"), [
    ("max_rows", "sd_unet"), ("max_pictures", "sd_vae_decoder"), ("max_pictures", "sd_vae_encoder"),
])  # fmt: skip
def test_joined_calls_have_no_more_rows_than_their_network_takes(setting, network, models):
    joined = models["stable_diffusion"]
    for config in (joined.config, *joined.variants.values()):
        assert int(config.parameters[setting].string_value) <= models[network].config.max_batch_size


def test_llavas_door_lets_in_at_once_as_many_as_have_a_slot(models):
    for config in (models["llava"].config, *models["llava"].variants.values()):
        assert config.parameters["at_once"] == config.parameters["slots"]  # 0: as many as fit


def test_nobody_is_refused_at_llavas_unary_face_while_a_slot_is_free(models):
    """Only the processes of `llava` know how many slots they have: the face takes what they say."""
    face = models["llava_answer"].config.parameters
    assert face["at_once"].string_value == "0"
    assert face["calls"].string_value == "llava"
    for config in models["llava"].configs.values():
        assert config.parameters["at_once"].string_value == config.parameters["slots"].string_value


@pytest.mark.parametrize(
    ("path", "tokens"), [("config.pbtxt", 576), ("configs/l4.pbtxt", 576), ("configs/cpu.pbtxt", 64)]
)
def test_llavas_length_has_room_for_all_pictures_and_some_words(path, tokens, models):
    """Tokens of a picture: LLaVA 1.5 has 576, the tiny checkpoint 64."""
    parameters = models["llava"].configs[path].parameters
    pictures, length = (int(parameters[key].string_value) for key in ("max_pictures", "max_length"))
    assert pictures * tokens <= 0.9 * length


def test_ensembles_are_wired_without_a_fault(models):
    ensembles = [served for served in models.values() if served.is_ensemble]
    assert ensembles
    assert [fault for ensemble in ensembles for fault in wiring_checks.wiring_faults(ensemble, models)] == []


@pytest.mark.parametrize("name", MODELS)
def test_the_client_knows_every_tensor_of_the_models_it_calls(name, models):
    assert list(client_checks.client_faults(MODELS[name], models)) == []


def test_the_readmes_tree_is_what_lies_on_the_disk(readme):
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    top_level = {file.split("/")[0] for file in files if file and (ROOT / file).exists()}
    assert "src" in top_level
    assert list(readme_checks.tree_faults(readme, ROOT, top_level)) == []


def test_the_readmes_table_has_every_model_and_no_other(readme, models):
    assert list(readme_checks.table_faults(readme, models)) == []


@pytest.mark.parametrize("page", ["docs/promises.md", "SECURITY.md"])
def test_every_test_that_a_promise_names_exists(page):
    text = (ROOT / page).read_text("utf-8")
    assert readme_checks.named_tests(text)
    assert list(readme_checks.promise_faults(text, ROOT / "tests")) == []


def test_what_the_image_copies_is_let_through_to_its_build():
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile.triton").read_text("utf-8"), re.MULTILINE)
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"}
    assert {name for line in copied for name in line.split()} == let_through
