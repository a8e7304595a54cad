"""What the gateway can be told: by options of `tritone gateway`, or by variables such as TRITONE_GATEWAY_PORT."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 2**20
# Names that applications have built in. What they ask for is what the model of ours on the right does.
ALIASES = {
    **dict.fromkeys(("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-transcribe"), "whisper"),
    **dict.fromkeys(("gpt-realtime-whisper", "gpt-live-transcribe"), "whisper"),
    **dict.fromkeys(("gpt-realtime", "gpt-realtime-mini", "gpt-realtime-1.5", "gpt-realtime-2"), "llava"),
    **dict.fromkeys(("gpt-realtime-2.1", "gpt-realtime-2.1-mini"), "llava"),
    **dict.fromkeys(("tts-1", "tts-1-hd", "gpt-4o-mini-tts"), "tts"),
    **dict.fromkeys(("dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5"), "stable_diffusion"),
}
STEPS = {"low": 10, "medium": 20, "standard": 20, "high": 40, "hd": 40}


class Limits(BaseModel):
    """What one key may ask for in a minute; 0 is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests: int = Field(default=600, ge=0)
    tokens: int = Field(default=200_000, ge=0)  # read and written
    pictures: int = Field(default=120, ge=0)  # shown and drawn
    audio_seconds: int = Field(default=7_200, ge=0)  # heard and spoken


class Realtime(BaseModel):
    """How much a realtime session may hold, and how many there may be; sizes in bytes, times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sessions: int = Field(default=32, ge=0)  # at a time; one that hears noise takes 4 % of a core
    session_s: float = Field(default=3600, gt=0)  # after which a session ends
    max_event_bytes: int = Field(default=16 * MIB, gt=0)
    max_buffer_s: float = Field(default=120, gt=0)  # of sound that is not yet committed
    max_kept_s: float = Field(default=600, gt=0)  # of sound in a conversation; older items keep their words alone
    max_items: int = Field(default=500, ge=2)
    max_picture_bytes: int = Field(default=64 * MIB, gt=0)  # in a conversation
    max_characters: int = Field(default=12_000, gt=0)  # of a conversation that the model is told; older ones are not
    ping_s: float = Field(default=20, gt=0)  # between pings, and for their answer
    partial_s: float = Field(default=0.7, gt=0)  # of new sound between transcripts of what is still being said
    smart_turn: Path | None = None  # its folder; where it is not said, smart_turn among the checkpoints
    secret_s: int = Field(default=600, ge=10, le=7200)  # for how long a browser's key is taken


class Settings(BaseSettings):
    """All of it; sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(env_prefix="TRITONE_GATEWAY_", env_nested_delimiter="__", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    server: str = "localhost:8001"  # or grpcs://, http://, https://
    server_token: SecretStr | None = None  # where something in front of the server asks for one
    keys: Path | None = None  # the file of hashes
    open: bool = False  # anybody may ask, without a key
    page: bool = True  # at /, for people
    cors: tuple[str, ...] = ()  # origins whose pages may ask; "*" is all
    limits: Limits = Limits()  # of a key that has none of its own
    timeout_s: float = Field(default=300, gt=0)  # for an answer as a whole
    max_json_bytes: int = Field(default=64 * MIB, gt=0)
    max_upload_bytes: int = Field(default=80 * MIB, gt=0)
    max_held_bytes: int = Field(default=2048 * MIB, gt=0)  # of all bodies at a time
    receive_within_s: float = Field(default=300, gt=0)  # for a request, its body included, from its first byte
    # Longer than clients keep theirs (httpx 5 s, balancers 60 s), or a request meets the connection's end on its way.
    idle_s: float = Field(default=75, gt=0)
    stuck_after_s: float = Field(default=30, gt=0)  # a caller who reads nothing for so long is cut off
    keep_alive_s: float = Field(default=15, gt=0)  # silence in a stream after which a comment is sent
    drain_s: float = Field(default=30, ge=0)  # for requests in flight when the gateway stops
    realtime: Realtime = Realtime()
    aliases: dict[str, str] = ALIASES
    voices: dict[str, str] = {}  # the caller's name for a voice: ours
    image_steps: dict[str, int] = STEPS  # by quality; "auto" is the server's own number
    default_image_steps: int = Field(default=20, ge=1)  # that number, by which previews are spread
