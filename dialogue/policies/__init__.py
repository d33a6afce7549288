"""How the next action is chosen: by rules, by remembered stories, and by asking both."""
