"""The running assistant: models, understanding, actions, responses, and the turn of a conversation."""
