"""The harmony format of gpt-oss, read from token ids."""
