"""Who calls /v1/realtime in tests: sends events, and takes those that come as OpenAI's own classes have them."""

import base64
import contextlib
import json

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter
from websockets.sync.client import connect

EVENTS = TypeAdapter(RealtimeServerEvent)
PATIENCE_S = 10


class Caller:
    """One session."""

    def __init__(self, socket):
        self.socket, self.seen = socket, []

    def send(self, kind, **fields):
        """An event."""
        self.socket.send(json.dumps({"type": kind, **fields}))

    def next(self, timeout=PATIENCE_S):
        """The next event that comes, as a dict; OpenAI's classes must know it."""
        event = json.loads(self.socket.recv(timeout))
        known = EVENTS.validate_python(event)
        assert known.type == event["type"]
        self.seen.append(event)
        return event

    def until(self, kind, timeout=PATIENCE_S):
        """All events up to the first of a kind, which is the last of them."""
        events = [self.next(timeout)]
        while events[-1]["type"] != kind:
            assert events[-1]["type"] != "error" or kind == "error", events[-1]
            events.append(self.next(timeout))
        return events

    def told(self, kind, **fields):
        """Send an event, and the next one that comes."""
        self.send(kind, **fields)
        return self.next()

    def update(self, **session):
        """Change the session; the session as it is then."""
        self.send("session.update", session={"type": "realtime", **session})
        return self.until("session.updated")[-1]["session"]

    def speak(self, pcm, piece=4800):
        """Play PCM, bytes, into the microphone."""
        for place in range(0, len(pcm), piece):
            audio = base64.b64encode(pcm[place : place + piece]).decode()
            self.send("input_audio_buffer.append", audio=audio)

    def say(self, text, role="user"):
        """A written item; its id."""
        kind = "output_text" if role == "assistant" else "input_text"
        item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
        self.send("conversation.item.create", item=item)
        return self.until("conversation.item.done")[-1]["item"]["id"]

    def answer(self, **wish):
        """The events of a response."""
        self.send("response.create", **({"response": wish} if wish else {}))
        return self.until("response.done")

    def retrieve(self, item_id):
        """An item as the server has it."""
        self.send("conversation.item.retrieve", item_id=item_id)
        return self.until("conversation.item.retrieved")[-1]["item"]


@contextlib.contextmanager
def calling(url, query="model=llava", **options):
    """A session that has begun."""
    with connect(f"{url.replace('http', 'ws')}/v1/realtime?{query}", **options) as socket:
        caller = Caller(socket)
        yield caller


def kinds(events):
    """Their types, each once where several follow one another."""
    names = [event["type"] for event in events]
    return [name for place, name in enumerate(names) if not place or names[place - 1] != name]
