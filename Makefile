# Every target says what it does in `make help`. Nothing is installed outside .venv and .venv-vllm.
PYTHON ?= python3
PROFILE ?= tiny
BIN := .venv/bin
export TRITONE_CHECKPOINTS ?= $(CURDIR)/.checkpoints/$(PROFILE)

.DEFAULT_GOAL := help
.PHONY: help setup checkpoints demo serve gateway test check loadtest abuse clients page gpu vllm bench clean

help: ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-12s %s\n' "$$name" "$$text"; done

# Every file that is installed has the sha256 that the lock names, build tools of source packages included.
.venv/installed: requirements.lock requirements.uv.lock pyproject.toml client/pyproject.toml gateway/pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 13) or sys.exit(f"Python {v[0]}.{v[1]} is not supported: install 3.11 or 3.12 and run make PYTHON=python3.12 again")'
	@echo "tritone: creating .venv and installing about 6 GB of pinned packages; a minute from a fast index"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.uv.lock
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes --build-constraint requirements.lock --requirement requirements.lock
	@$(BIN)/uv pip install --python $(BIN)/python --no-deps --build-constraint requirements.lock --editable . --editable client --editable gateway
	@touch $@

setup: .venv/installed ## create .venv with every pinned package

checkpoints: setup ## fetch the checkpoints of PROFILE (tiny, base or full)
	@$(BIN)/python scripts/fetch_checkpoints.py --profile $(PROFILE)

demo: checkpoints ## start the server, ask it a spoken question about a picture, stop it
	@$(BIN)/python scripts/demo.py

serve: checkpoints ## start the server and keep it running until Ctrl-C
	@$(BIN)/tritone serve

gateway: checkpoints ## start the server and OpenAI's API in front of it, on 127.0.0.1:8080, until Ctrl-C
	@$(BIN)/python scripts/serve_gateway.py

check: setup ## lint, types and contracts: fast, before every commit
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(BIN)/hadolint Dockerfile.triton
	@$(BIN)/pytest -q tests/contract
	@echo "make check: all clean"

test: checkpoints check ## every test that needs no GPU, the real server included
	@$(BIN)/python scripts/fetch_checkpoints.py --profile tiny --only whisper_multilingual
	@$(BIN)/python scripts/install_chromium.py
	@# Two processes of one compute thread each are nearly twice as fast as one of two; the server's tests have it all.
	@OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses=4 -m "not e2e and not gpu and not vllm and not clients"
	@$(BIN)/pytest -m "e2e and not clients and not page"
	@echo "make test: all passed"

loadtest: checkpoints ## 20 s of users against a real server; fails when thresholds are missed
	@$(BIN)/python scripts/loadtest.py

abuse: checkpoints ## overload, nonsense, callers who leave, killed models: tables, and what must not be
	@PYTHONPATH=loadtest $(BIN)/python -m abuse --seconds 10 --settle 10

page: checkpoints ## the page from its sources, where there is npm, and all its tests in Chromium
	@if command -v npm >/dev/null; then cd gateway/page && npm ci --no-audit --no-fund --loglevel=error && npm run build && git diff --exit-code ../src/tritone_gateway/page; fi
	@$(BIN)/python scripts/install_chromium.py
	@$(BIN)/pytest tests/e2e/page tests/contract/test_page.py

gpu: checkpoints ## on a machine with a GPU: is its path right, and how fast; about nine minutes
	@$(BIN)/python scripts/check_gpu.py

# vLLM wants numpy 2 and a torch of its own, so it has an environment of its own. Its tests need no server.
.venv-vllm/installed: .venv/installed requirements.vllm.lock pyproject.toml
	@echo "tritone: creating .venv-vllm and installing about 6 GB of pinned packages; a minute from a fast index"
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-vllm
	@$(BIN)/uv pip install --python .venv-vllm/bin/python --no-deps --require-hashes --requirement requirements.vllm.lock
	@$(BIN)/uv pip install --python .venv-vllm/bin/python --no-deps --build-constraint requirements.lock --editable .
	@touch $@

vllm: checkpoints .venv-vllm/installed ## the second engine of llava against the first, in .venv-vllm; three minutes
	@.venv-vllm/bin/python -m pytest -m vllm tests/vllm_engine

clients: checkpoints ## other people's clients, unmodified, in front of the gateway; those that make test leaves out
	@$(BIN)/python scripts/install_clients.py langchain llama-index instructor schemathesis aiperf
	@$(BIN)/pytest -m clients tests/e2e/test_foreign_clients.py tests/e2e/test_realtime.py

bench: checkpoints ## measure the server against the same work in one process
	@# PASSIVE: sides that compute in this process are tuned as the stubs are; elsewhere they have OpenMP's own default.
	@OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=1000 $(BIN)/python loadtest/bench/transcribe_overhead.py
	@$(BIN)/python loadtest/bench/whisper.py
	@$(BIN)/python loadtest/bench/tts.py
	@$(BIN)/python loadtest/bench/voice_assistant.py
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python loadtest/bench/clip.py
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python loadtest/bench/llava.py
	@$(BIN)/python loadtest/bench/stable_diffusion.py
	@$(BIN)/python loadtest/bench/client.py
	@$(BIN)/python loadtest/bench/gateway.py
	@$(BIN)/python loadtest/bench/realtime.py

clean: ## remove .venv, .venv-vllm, checkpoints and everything that was generated
	rm -rf .venv .venv-vllm .clients .chromium .checkpoints .tritone demo_output
