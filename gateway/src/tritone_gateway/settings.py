"""What the gateway can be told: by options of `tritone gateway`, or by variables such as TRITONE_GATEWAY_PORT."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 2**20
# Names that applications have built in. What they ask for is what the model of ours on the right does.
ALIASES = {
    **dict.fromkeys(("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"), "whisper"),
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
    aliases: dict[str, str] = ALIASES
    voices: dict[str, str] = {}  # the caller's name for a voice: ours
    image_steps: dict[str, int] = STEPS  # by quality; "auto" is the server's own number
    default_image_steps: int = Field(default=20, ge=1)  # that number, by which previews are spread
