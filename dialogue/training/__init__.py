"""Stories and rules as people write them, and the sequences of events that they stand for."""
