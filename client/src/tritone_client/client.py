"""The clients: one method per task, in the room `verbs`.

What a request looks like is in the room `calls`, how it travels in `transports`.
"""

from tritone_client.verbs.conversation import AsyncConversationVerbs, ConversationVerbs
from tritone_client.verbs.embeddings import AsyncEmbeddingVerbs, EmbeddingVerbs
from tritone_client.verbs.images import AsyncImageVerbs, ImageVerbs
from tritone_client.verbs.speech import AsyncSpeechVerbs, SpeechVerbs


class Client(SpeechVerbs, ConversationVerbs, EmbeddingVerbs, ImageVerbs):
    """A Tritone server, called over gRPC or HTTP. Threads may share one client.

    >>> with Client("localhost:8001") as client:
    ...     print(client.ask("What is in this picture?", image="cat.png").text)

    Every verb takes the options of `Sending` too: `timeout_s`, how long its answer may take, `request_id`, which the
    server writes into its log (a random one by default), and `metadata`. Every verb raises the errors of this package,
    see `Error`.

    Args:
        url: where the server answers: "localhost:8001", "grpc://…", "grpcs://…" (with TLS), "http://…" or "https://…";
            or several such addresses of one scheme, which are asked in turn.
        transport: what carries the requests instead, such as `MockTransport`.
        options: see `Connecting`: time-out, retries, TLS, token, metadata.
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
        url, transport, options: as of `Client`.
    """
