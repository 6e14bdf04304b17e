"""Temporary."""

import json


def encode(m):
    return (json.dumps(m, indent=1) + "\n").encode()


def decode(b, name):
    return json.loads(b)
