"""Models that vLLM serves, or any server of the OpenAI-compatible API, and vLLM in a process of its own."""
