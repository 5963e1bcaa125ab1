"""Facts that everything shares: frozen values, the error family, settings, events, prices, time."""
