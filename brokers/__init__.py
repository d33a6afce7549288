"""The relay that publishes the log to brokers. It reads the log by position, after the commit."""
