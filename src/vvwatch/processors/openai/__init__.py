"""The processor that asks a model behind any endpoint that speaks OpenAI's chat protocol."""
