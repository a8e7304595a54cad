"""Pictures and sounds: as they come inside of JSON, and as they go out."""
