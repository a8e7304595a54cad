"""Packages that libraries find missing, and the compiler that is loaded late: each in a fresh interpreter."""

import os
import subprocess
import sys

import pytest

from tritone import imports

POSTPONED = "from tritone.imports import postpone_compiler; postpone_compiler(); import sys, torch\n"
LOADED = "torch._dynamo.eval_frame"


def run(code, environment=None):
    """What a new Python prints."""
    env = {**os.environ, **(environment or {})}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_transformers_networks_come_without_torchs_compiler():
    networks = "CLIPModel, LlavaForConditionalGeneration, WhisperForConditionalGeneration, Wav2Vec2ForCTC"
    assert run(f"{POSTPONED}from transformers import {networks}; print('{LOADED}' in sys.modules)") == "False"


@pytest.mark.parametrize(
    "use",
    [
        "import torch._dynamo.eval_frame as e; print(e.__name__, e is torch._dynamo.eval_frame)",
        "import torch._dynamo; print(torch._dynamo.eval_frame.__name__, torch._dynamo is sys.modules['torch._dynamo'])",
        "from torch._dynamo import eval_frame as e; print(e.__name__, e is sys.modules['torch._dynamo.eval_frame'])",
    ],
)
def test_who_asks_for_the_compiler_gets_it(use):
    assert run(f"{POSTPONED}{use}") == f"{LOADED} True"


def test_what_was_imported_by_name_works_when_it_is_called():
    use = "from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex as T\n"
    use += "with T(): print(torch.vmap(lambda row: torch.arange(3)[row])(torch.tensor([2, 0])).tolist())"
    assert run(POSTPONED + use) == "[2, 0]"


def test_a_function_may_be_compiled_all_the_same():
    marked = "@torch.compiler.disable\ndef one(x): return x + 1\n"
    use = f"{marked}print(torch.compile(one, backend='eager')(torch.ones(2)).tolist(), '{LOADED}' in sys.modules)"
    assert run(POSTPONED + use) == "[2.0, 2.0] True"


def test_a_library_finds_missing_what_it_is_to_do_without():
    code = """
from tritone.imports import without
import json.decoder, importlib.util, sys
with without("xml", "json"):
    print(importlib.util.find_spec("xml"), importlib.util.find_spec("json").name)
    try: import xml
    except ImportError as error: print(error.name)
import xml
print(xml.__name__)
"""
    assert run(code).split() == ["None", "json", "xml", "xml"]


NETWORKS = """
import sys
from tritone import imports
with imports.for_serving():
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel
print(sorted({*imports.LEFT_OUT, "torch.distributed.tensor", "torch._dynamo.eval_frame"} & sys.modules.keys()))
import scipy
print(scipy.__name__)
"""


def test_a_serving_process_imports_networks_without_what_others_need():
    assert run(NETWORKS, imports.SERVING).split("\n") == ["[]", "scipy"]


def test_any_other_process_imports_all_of_a_library():
    found = run(NETWORKS, dict.fromkeys(imports.SERVING, "all")).split("\n")[0]
    assert "'peft'" in found
    assert "'torch.distributed.tensor'" in found
