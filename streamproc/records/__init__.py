"""Records of the topics for people and scripts: decoded and followed, or sent. Nothing here is part of the service."""
