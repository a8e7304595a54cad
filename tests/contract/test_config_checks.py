"""Each check of the model folders sees the fault it is for: one small wrong example each, beside a right one."""

import pytest
from contract.example import EAR, EAR_CPU, FILES, GPU, PARROT, VOICE, WIRES, all_faults, write
from contract.repositories import read, repeated_names
from google.protobuf.text_format import ParseError


def test_the_right_example_has_no_fault(repositories):
    assert all_faults(repositories) == []
    assert repeated_names(repositories) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        # the folder
        (EAR, 'name: "ear"', 'name: "eye"', "ear: config.pbtxt says name 'eye'"),
        ("model_repository/ear/1/common.py", "", "", "ear: 1/common.py does not belong here"),
        ("model_repository/ear/ear.py", "", "", "ear: ear.py does not belong here"),
        ("ensembles/parrot/1/model.py", "", "", "parrot: 1/model.py does not belong here"),
        (VOICE, 'backend: "python"', 'backend: "onnxruntime"', "mouth: backend is 'onnxruntime'"),
        # instance kinds
        (EAR, "kind: KIND_GPU ", "", "ear: config.pbtxt has instance kinds ['KIND_AUTO'], must be KIND_GPU"),
        (EAR_CPU, "KIND_CPU", "KIND_GPU", "ear: configs/cpu.pbtxt has instance kinds ['KIND_GPU'], must be KIND_CPU"),
        (
            VOICE,
            "instance_group [ { kind: KIND_CPU } ]",
            "",
            "mouth: config.pbtxt has instance kinds [], must be KIND_CPU",
        ),
        (VOICE, "KIND_CPU", "KIND_GPU", "mouth: config.pbtxt has instance kinds ['KIND_GPU'], must be KIND_CPU"),
        (
            WIRES,
            "ensemble_scheduling",
            "instance_group [ { } ] ensemble_scheduling",
            "parrot: an ensemble has no instances",
        ),
        # the variants
        (
            EAR_CPU,
            "max_batch_size: 8",
            "max_batch_size: 4",
            "ear: configs/cpu.pbtxt and config.pbtxt differ in max_batch_size",
        ),
        (EAR_CPU, "TYPE_FP32", "TYPE_FP16", "ear: configs/cpu.pbtxt and config.pbtxt differ in input"),
        (EAR_CPU, " optional: true", "", "ear: configs/cpu.pbtxt and config.pbtxt differ in input"),
        (EAR_CPU, '"text"', '"words"', "ear: configs/cpu.pbtxt and config.pbtxt differ in output"),
        (
            EAR_CPU,
            "dynamic_batching",
            "model_transaction_policy { decoupled: true } dynamic_batching",
            "ear: configs/cpu.pbtxt and config.pbtxt differ in model_transaction_policy",
        ),
        (
            EAR_CPU,
            '"dtype"',
            '"device"',
            "ear: configs/cpu.pbtxt and config.pbtxt do not both have the parameters ['device', 'dtype']",
        ),
        # queues
        (
            EAR_CPU,
            "dynamic_batching { }",
            "dynamic_batching { default_queue_policy { max_queue_size: 9 } }",
            "ear: configs/cpu.pbtxt has a queue policy",
        ),
        (VOICE, "input [", "dynamic_batching { priority_levels: 2 } input [", "mouth: config.pbtxt has a queue policy"),
        # tensors
        (VOICE, "max_batch_size: 8", "", "mouth: max_batch_size is 0, so its tensors have no batch axis"),
        (VOICE, '"speech"', '"OUTPUT0"', "mouth: tensor 'OUTPUT0' is not snake_case"),
        (VOICE, "dims: [ -1 ]", "", "mouth: tensor 'speech' has no dims"),
        (VOICE, '"ear"', '"ear,eye"', "mouth: calls 'eye', which does not exist"),
        (
            EAR,
            '"task" data_type: TYPE_STRING',
            '"task" data_type: TYPE_INT32',
            "'task' is TYPE_INT32 in ear and TYPE_STRING in parrot",
        ),
    ],
)
def test_a_wrong_example_is_seen(tmp_path, file, old, new, fault):
    before = FILES.get(file, "")
    assert old in before
    assert fault in all_faults(write(tmp_path, {**FILES, file: before.replace(old, new, 1)}))


def test_a_missing_model_py_is_seen(repositories):
    (repositories[0] / "ear/1/model.py").unlink()
    assert all_faults(repositories) == ["ear: 1/model.py is missing"]


def test_what_python_leaves_beside_a_model_is_no_fault(repositories):
    (repositories[0] / "ear/1/__pycache__").mkdir()
    (repositories[0] / "ear/1/__pycache__/model.cpython-311.pyc").write_bytes(b"")
    assert all_faults(repositories) == []


def test_a_config_that_triton_could_not_parse_is_seen(repositories):
    (repositories[0] / "ear/config.pbtxt").write_text(GPU + "max_inflight: 3")
    with pytest.raises(ParseError, match="max_inflight"):
        read(repositories[0] / "ear")


def test_a_name_in_both_repositories_is_seen(tmp_path):
    assert repeated_names(write(tmp_path, {**FILES, "ensembles/ear/config.pbtxt": PARROT})) == ["ear"]
