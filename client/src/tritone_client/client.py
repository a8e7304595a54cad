"""The client: one method per task, in the room `verbs`.

What a request looks like is in the room `calls`, how it travels in `transports`.
"""

from tritone_client.verbs.conversation import ConversationVerbs
from tritone_client.verbs.embeddings import EmbeddingVerbs
from tritone_client.verbs.images import ImageVerbs
from tritone_client.verbs.speech import SpeechVerbs


class Client(SpeechVerbs, ConversationVerbs, EmbeddingVerbs, ImageVerbs):
    """A Tritone server, called over gRPC. Threads may share one client.

    >>> with Client("localhost:8001") as client:
    ...     print(client.ask("What is in this picture?", image="cat.png").text)

    Every verb takes two more arguments: `timeout_s`, how long its answer may take, and `request_id`, which the server
    writes into its log (a random one by default). Every verb raises the errors of this package, see `Error`.

    Args:
        url: host:port of the server's gRPC address.
        timeout_s: how long an answer may take where the call does not say, in seconds.
        transport: what carries the requests instead of gRPC, such as `MockTransport`.
    """
