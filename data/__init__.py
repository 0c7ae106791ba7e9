"""Videos to prepared examples: sources, decoding, frame selection, shards. Never imports `train`."""
