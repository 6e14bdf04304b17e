"""BitDex beside its peers: the same files, the same questions, the same answers, one run."""
