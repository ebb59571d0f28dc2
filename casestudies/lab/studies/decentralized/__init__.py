"""Decentralized execution: peers that come and go, over slow links, run one model together."""
