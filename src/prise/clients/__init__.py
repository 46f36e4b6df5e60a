"""The calling side: `connect`, in both colours, and `Listener`, the bare accept loop."""
