"""Transports: engines that carry frames between two peers, chosen by URL scheme."""
