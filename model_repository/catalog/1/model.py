"""What this server serves and what each model offers, as JSON: its processes say so in files (tritone/pulse.py)."""

import json

from tritone import pulse, serving
from tritone.errors import InvalidInput


class TritonPythonModel:
    def initialize(self, args):
        self.triton = serving.Model(args)
        self.triton.tell()

    def execute(self, requests):
        return self.triton.run_each(requests, self._list)

    def _list(self, model):  # "" is all: without an input Triton asks no model that has a batch axis
        told = dict(sorted(pulse.facts(self.triton.heart.where).items()))
        if model and model not in told:
            raise InvalidInput(f"model {model[:100]!r} is not in the catalog, which has: {', '.join(told)}")
        return {"catalog": json.dumps({model: told[model]} if model else told, ensure_ascii=False)}
