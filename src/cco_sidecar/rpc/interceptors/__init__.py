"""The interceptors, one concern each. Their order, outermost first, and the reasons:

request_id    everything after it can name the call
access_log    sees the final status, including that of rejected calls
errors        maps exceptions to a status, in one place
authenticate  the limits and permissions below depend on the caller
rate_limit    cheaper than authorisation; rejected calls count too
authorise     before the request is read, so that validation errors leak nothing
receive       reads the request only once the call is known to be permitted
validate      everything below sees only requests that satisfy the rules of their proto
scope         needs a valid request: checks what it concerns, and fills in empty fields
"""
