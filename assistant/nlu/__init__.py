"""Understanding: which intent a message has, and which entities it names."""
