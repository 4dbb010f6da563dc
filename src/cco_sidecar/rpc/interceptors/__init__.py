"""One concern each. The order, outermost first, and why:

request_id    everything after it can name the call
access_log    sees the final status, also of refused calls
errors        turns what is raised below into a status, once
authenticate  nobody is limited or judged before it is known who calls
rate_limit    refusing is cheaper than judging; a refused call counts too
authorise     before the request is looked at, so that nothing leaks through validation errors
receive       nothing is read of a call before it is known whose it is, and that it may be made
validate      the servicer sees only requests that keep the rules of their proto
"""
