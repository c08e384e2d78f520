"""Programs that check one response and so vote on pairs: verifiers, built in or found as plug-ins."""
