-- What wrk found, as one line of JSON, for benchmarks/web.py.
done = function(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"requests": %d, "bytes": %d, "seconds": %f, "refused": %d, "broken": %d}\n',
      summary.requests, summary.bytes, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write))
end
