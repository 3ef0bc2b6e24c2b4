"""A deterministic server of the OpenAI protocol, with faults and limits on demand."""
