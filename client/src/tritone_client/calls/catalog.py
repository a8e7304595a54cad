"""The call that asks what a server serves, see `call`."""

import json
from typing import Any

from tritone_client.calls import models
from tritone_client.calls.call import Call, request, text_of
from tritone_client.calls.options import Sending


def catalog(options: Sending) -> Call[dict[str, Any]]:
    """Every public model's facts, by its name."""
    return Call(
        request(models.CATALOG, options, {"model": ""}), lambda outputs: dict(json.loads(text_of(outputs, "catalog")))
    )
