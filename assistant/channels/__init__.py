"""Where messages come from, and where what the bot says goes to."""
