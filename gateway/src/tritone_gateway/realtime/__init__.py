"""/v1/realtime: a conversation over a WebSocket, as OpenAI's GA protocol has it. One session, one task; nothing of what
is said is written anywhere, and all of it is gone with the session."""
