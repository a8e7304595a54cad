"""Each check of the wires sees the fault it is for. The right example is shown to be right in test_config_checks.py."""

import pytest
from contract.example import EAR, FILES, PARROT, VOICE, WIRES, all_faults, write


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        (WIRES, 'model_name: "ear"', 'model_name: "eye"', "parrot: step 'eye' does not exist"),
        (
            WIRES,
            'model_name: "ear"',
            'model_name: "mouth"',
            "parrot: 'mouth' stands 2 times in it, which stalls servers before 26.08",
        ),
        (WIRES, 'key: "task"', 'key: "mood"', "parrot: step 'ear' has no input 'mood'"),
        (WIRES, 'output_map { key: "text"', 'output_map { key: "words"', "parrot: step 'ear' has no output 'words'"),
        (
            WIRES,
            'input_map { key: "audio" value: "audio" }',
            "",
            "parrot: step 'ear' gets nothing for its input 'audio'",
        ),
        (WIRES, 'input_map { key: "audio" value: "audio" }', "", "parrot: its input 'audio' goes nowhere"),
        (WIRES, 'value: "heard" } }', 'value: "speech" } }', "parrot: 'speech' comes from 'ear' and 'mouth'"),
        (
            WIRES,
            '"text" value: "heard" } output',
            '"text" value: "said" } output',
            "parrot: 'said' of 'mouth' comes from nowhere",
        ),
        (WIRES, 'value: "speech" }', 'value: "sound" }', "parrot: 'speech' of its output comes from nowhere"),
        (
            WIRES,
            '"audio" data_type: TYPE_FP32',
            '"audio" data_type: TYPE_FP16',
            "parrot: 'audio' is TYPE_FP16 in its input but TYPE_FP32 in 'ear'",
        ),
        (
            WIRES,
            '"speech" data_type: TYPE_FP32 dims: [ -1 ]',
            '"speech" data_type: TYPE_FP32 dims: [ -1, 1 ]',
            "parrot: 'speech' is [-1] in 'mouth' but [-1, 1] in its output",
        ),
        (VOICE, "dims: [ 1 ]", "dims: [ 2 ]", "parrot: 'heard' is [1] in 'ear' but [2] in 'mouth'"),
        (EAR, " optional: true", "", "parrot: 'task' is optional, but 'ear' cannot do without"),
        (VOICE, "max_batch_size: 8", "max_batch_size: 1", "parrot: step 'mouth' takes batches of 1, the ensemble 8"),
        (
            VOICE,
            "input [",
            "model_transaction_policy { decoupled: true } input [",
            "parrot: step 'mouth' is decoupled, so the ensemble cannot be called by unary infer",
        ),
        (WIRES, PARROT[PARROT.index("ensemble_scheduling") :], "ensemble_scheduling { }", "parrot: has no steps"),
    ],
)
def test_a_wrong_wire_is_seen(tmp_path, file, old, new, fault):
    before = FILES.get(file, "")
    assert old in before
    assert fault in all_faults(write(tmp_path, {**FILES, file: before.replace(old, new, 1)}))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"text"', '"ear_wav"', "parrot: 'ear_wav' of step 'ear' goes on as 'heard': it may be base64, or no file"),
        ('"text"', '"audio"', "parrot: 'audio' of step 'ear' goes on as 'heard': JSON goes without it"),
    ],
)
def test_files_never_go_from_step_to_step(tmp_path, old, new, fault):
    """`binary` reaches every step: only what leaves the server may be encoded."""
    outputs = FILES[EAR].replace(
        'name: "text"', 'name: "ear_wav" data_type: TYPE_STRING dims: [ 1 ] }, { name: "audio"'
    )
    wires = PARROT.replace(f"output_map {{ key: {old}", f"output_map {{ key: {new}")
    assert wires != PARROT
    assert fault in all_faults(write(tmp_path, {**FILES, EAR: outputs, WIRES: wires}))
