"""Select: from candidates to a training file in one command."""
