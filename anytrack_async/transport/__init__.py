"""How requests reach a service: one session each, with a limit, time-outs and retries."""
