"""Peak Atlas: a systematic review of LLM performance optimization that people can use."""

__version__ = "0.1.0"
