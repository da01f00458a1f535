"""The processor that asks a model behind an endpoint with OpenAI's chat protocol."""
