"""How much of each prompt the engines had cached, by routing mode, on a workload of shared system prompts.

24 groups share a 4,096-token system prompt each and add 64 unique tokens per request; 960 requests ask for 16 tokens,
16 at a time; each of 4 mockers caches 2,600 blocks of 16 tokens, so no worker holds all groups (6,144 blocks). The hit
ratio is cached tokens over prompt tokens, as the engines report them in `usage`. The most one can reach is about 0.96:
the first request of a group and every unique tail miss.
"""
