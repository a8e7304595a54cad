"""The clients: one method per task, in the room `verbs`.

What a request looks like is in the room `calls`, how it travels in `transports`.
"""

from tritone_client.verbs.conversation import AsyncConversationVerbs, ConversationVerbs
from tritone_client.verbs.embeddings import AsyncEmbeddingVerbs, EmbeddingVerbs
from tritone_client.verbs.images import AsyncImageVerbs, ImageVerbs
from tritone_client.verbs.speech import AsyncSpeechVerbs, SpeechVerbs


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


class AsyncClient(AsyncSpeechVerbs, AsyncConversationVerbs, AsyncEmbeddingVerbs, AsyncImageVerbs):
    """The same for an event loop: the verbs of `Client`, awaited; its streams are asynchronous generators.

    >>> async with AsyncClient("localhost:8001") as client:
    ...     print((await client.ask("What is in this picture?", image="cat.png")).text)
    ...     async for chunk in client.ask_stream("Describe it.", image="cat.png"):
    ...         print(chunk.text, end="")

    Cancelling the task, closing the generator (`aclose`) or leaving it cancels the request on the server. A generator
    asks with its first `anext`, and what is wrong with its input is raised there. It belongs to the event loop of its
    first request, and no other thread may use it.

    Args:
        url, timeout_s, transport: as of `Client`.
    """
