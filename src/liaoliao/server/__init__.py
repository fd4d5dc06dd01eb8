"""One HTTP server that clients of OpenAI's and Anthropic's APIs can talk to: requests become chat jobs,
tokens become events.
"""
