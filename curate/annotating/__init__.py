"""Annotating: what people are shown, who is given which task, and what their answers say."""
