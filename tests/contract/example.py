"""A right example of two repositories and a README, small enough to be made wrong in one place."""

from pathlib import Path

from contract import config_checks, wiring_checks
from contract.repositories import read_all

GPU = """name: "ear" backend: "python" max_batch_size: 8 dynamic_batching { }
input [
  { name: "audio" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "task" data_type: TYPE_STRING dims: [ 1 ] optional: true }
]
output [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
instance_group [ { kind: KIND_GPU count: 1 } ]
parameters [ { key: "dtype" value { string_value: "auto" } } ]
"""
CPU = GPU.replace("KIND_GPU", "KIND_CPU")
MOUTH = """name: "mouth" backend: "python" max_batch_size: 8
input [ { name: "text" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "speech" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU } ]
parameters [ { key: "calls" value { string_value: "ear" } } ]
"""
PARROT = """name: "parrot" platform: "ensemble" max_batch_size: 8
input [
  { name: "audio" data_type: TYPE_FP32 dims: [ -1 ] },
  { name: "task" data_type: TYPE_STRING dims: [ 1 ] optional: true }
]
output [ { name: "speech" data_type: TYPE_FP32 dims: [ -1 ] } ]
ensemble_scheduling { step [
  { model_name: "ear" model_version: -1
    input_map { key: "audio" value: "audio" } input_map { key: "task" value: "task" }
    output_map { key: "text" value: "heard" } },
  { model_name: "mouth" model_version: -1
    input_map { key: "text" value: "heard" } output_map { key: "speech" value: "speech" } }
] }
"""
FILES = {
    "model_repository/ear/config.pbtxt": GPU,
    "model_repository/ear/configs/cpu.pbtxt": CPU,
    "model_repository/ear/1/model.py": "",
    "model_repository/mouth/config.pbtxt": MOUTH,
    "model_repository/mouth/1/model.py": "",
    "ensembles/parrot/config.pbtxt": PARROT,
    "ensembles/parrot/1/.gitkeep": "",
}
EAR, EAR_CPU = "model_repository/ear/config.pbtxt", "model_repository/ear/configs/cpu.pbtxt"
VOICE, WIRES = "model_repository/mouth/config.pbtxt", "ensembles/parrot/config.pbtxt"


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root / "model_repository", root / "ensembles"


def all_faults(repositories) -> list[str]:
    models = read_all(repositories)
    checks = [getattr(config_checks, f"{name}_faults") for name in ("layout", "kind", "variant", "queue", "tensor")]
    return [
        *(fault for served in models.values() for check in checks for fault in check(served)),
        *(fault for served in models.values() for fault in config_checks.call_faults(served, models)),
        *(fault for s in models.values() if s.is_ensemble for fault in wiring_checks.wiring_faults(s, models)),
        *config_checks.vocabulary_faults(models.values()),
    ]


README = """# Birds
## Models
| model | what |
|---|---|
| `ear` | hears for the `parrot` |
| `mouth`, `parrot` | speak |

## The tree
Some words.
```
model_repository/     one folder per network
├── ear/1/model.py    hears
└── mouth/            speaks
    └── config.pbtxt  `says`
ensembles/parrot/     wires
```
## More
| `nobody` | no model |
"""
