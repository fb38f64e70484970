"""Real streams to a URL, paced and judged one by one."""
