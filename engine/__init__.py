"""The engine of batchscope: trains, records and evaluates sweeps, without a user interface."""
