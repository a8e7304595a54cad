"""The client: one method per task, in `_speech_verbs`, `_conversation_verbs`, `_embedding_verbs` and `_image_verbs`.

What a request looks like is in `_calls` and its neighbours, how it travels in `_transport`.
"""

from tritone_client._conversation_verbs import ConversationVerbs
from tritone_client._embedding_verbs import EmbeddingVerbs
from tritone_client._image_verbs import ImageVerbs
from tritone_client._speech_verbs import SpeechVerbs


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
