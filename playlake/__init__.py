"""playlake: a streaming lake for clickstreams."""

__version__ = "0.1.0"
